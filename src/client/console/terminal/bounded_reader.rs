//! Lines from something that is no terminal, with a bound on their length.

use std::io::{self, BufRead};

use zeroize::Zeroizing;

/// One line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A line, without its line feed.
    Line(Zeroizing<String>),
    /// A line longer than the bound; it has been passed over.
    TooLong,
    /// A line that is no UTF-8; it has been passed over.
    NotText,
    /// The end.
    End,
}

/// Reads up to the next line feed, or to the end; `\r` before the line feed belongs to it. Never keeps more than
/// `max_bytes`.
///
/// # Errors
/// What the source says.
pub fn read_line(source: &mut impl BufRead, max_bytes: usize) -> io::Result<Read> {
    // Room for the whole line from the start: a buffer that grows leaves copies behind, and the line may be a password.
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
        return Ok(Read::End);
    }
    if too_long {
        return Ok(Read::TooLong);
    }
    let text = line.strip_suffix(b"\r").unwrap_or(&line);
    Ok(std::str::from_utf8(text).map_or(Read::NotText, |text| Read::Line(Zeroizing::new(text.to_owned()))))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(source: &[u8], chunk: usize) -> Vec<Read> {
        let mut source = BufReader::with_capacity(chunk, source);
        let mut read = Vec::new();
        loop {
            match read_line(&mut source, 8).unwrap() {
                Read::End => return read,
                line => read.push(line),
            }
        }
    }

    #[test]
    fn lines_are_bounded_and_what_is_too_long_or_no_text_does_not_stop_the_next() {
        let line = |text: &str| Read::Line(Zeroizing::new(text.to_owned()));
        for chunk in [1, 3, 1000] {
            assert_eq!(all(b"", chunk), []);
            assert_eq!(all(b"a\n\nb\r\nlast", chunk), [line("a"), line(""), line("b"), line("last")]);
            assert_eq!(all(b"12345678\n123456789\nnext\n", chunk), [line("12345678"), Read::TooLong, line("next")]);
            assert_eq!(all(b"\xff\xfe\nnext", chunk), [Read::NotText, line("next")]);
        }
    }
}
