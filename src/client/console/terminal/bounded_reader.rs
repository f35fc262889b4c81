//! Reads lines from a pipe, with a limit on their length.

use std::io::{self, BufRead};

use zeroize::Zeroizing;

/// The longest line in bytes. The longest message that any server's settings allow fits; the server itself decides whether a
/// message is too long.
pub const MAX_LINE_BYTES: usize = 32 * 1024;

/// A line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum BoundedLine {
    /// A line, without its line feed.
    Text(Zeroizing<String>),
    /// The line was longer than the limit and was skipped.
    TooLong,
    /// The line was not UTF-8 and was skipped.
    NotText,
    /// The end of the input.
    End,
}

/// Reads up to the next line feed or the end; a `\r` before the line feed is dropped. Never keeps more than `max_bytes`.
///
/// # Errors
/// The source's own.
pub fn read_line(source: &mut impl BufRead, max_bytes: usize) -> io::Result<BoundedLine> {
    // The whole capacity at once: a buffer that grows leaves copies behind, and the line may be a password.
    let mut line = Zeroizing::new(Vec::with_capacity(max_bytes));
    let mut too_long = false;
    let mut anything = false;
    loop {
        let chunk = match source.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            break;
        }
        anything = true;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        if line.len() + part.len() > max_bytes {
            too_long = true;
        } else {
            line.extend_from_slice(part);
        }
        let taken = end.map_or(chunk.len(), |end| end + 1);
        source.consume(taken);
        if end.is_some() {
            break;
        }
    }
    if !anything {
        return Ok(BoundedLine::End);
    }
    if too_long {
        return Ok(BoundedLine::TooLong);
    }
    let text = line.strip_suffix(b"\r").unwrap_or(&line);
    Ok(std::str::from_utf8(text)
        .map_or(BoundedLine::NotText, |text| BoundedLine::Text(Zeroizing::new(text.to_owned()))))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(source: &[u8], chunk: usize) -> Vec<BoundedLine> {
        let mut source = BufReader::with_capacity(chunk, source);
        let mut read = Vec::new();
        loop {
            match read_line(&mut source, 8).unwrap() {
                BoundedLine::End => return read,
                line => read.push(line),
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_or_not_utf8_does_not_stop_the_next() {
        let line = |text: &str| BoundedLine::Text(Zeroizing::new(text.to_owned()));
        for chunk in [1, 3, 1000] {
            assert_eq!(all(b"", chunk), []);
            assert_eq!(all(b"a\n\nb\r\nlast", chunk), [line("a"), line(""), line("b"), line("last")]);
            assert_eq!(
                all(b"12345678\n123456789\nnext\n", chunk),
                [line("12345678"), BoundedLine::TooLong, line("next")]
            );
            assert_eq!(all(b"\xff\xfe\nnext", chunk), [BoundedLine::NotText, line("next")]);
        }
    }
}
