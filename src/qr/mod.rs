//! Enrolment pictures: an `otpauth://` URI as a QR code in the terminal and as a PNG, and its secret in letters.
//!
//! Everything in here is a secret in the clear. [`mod@file`] keeps pictures on disk.

pub mod file;

use std::io;

use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::security::totp::secret_in_uri;

/// Width of the light border of the picture on disk, in modules (ISO/IEC 18004 asks for four).
const PNG_BORDER: usize = 4;
/// Pixels along one side of a module in the picture on disk.
const PNG_SCALE: usize = 8;
/// Black on white in fixed colours (of the 256) that no terminal theme changes.
const INK_ON_PAPER: &str = "\x1b[38;5;16;48;5;231m";
/// Back to the terminal's own colours.
const PLAIN: &str = "\x1b[0m";

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The text is longer than the largest QR code holds.
    #[error("the text does not fit into a QR code: {0}")]
    TooLong(#[from] QrError),
    /// The PNG could not be encoded.
    #[error("the picture could not be encoded: {0}")]
    Encoding(#[from] png::EncodingError),
}

/// Columns and rows of a terminal, or of a picture in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// A QR code drawn in half blocks.
#[derive(Debug)]
pub struct TerminalPicture {
    /// Its rows, each with its line feed.
    pub rows: Zeroizing<String>,
    /// Whether the name in it was shortened. The secret is complete.
    pub shortened: bool,
}

/// The QR code of an `otpauth://` URI as half blocks, two modules per cell, black on white so that it is readable on dark and
/// light terminals alike. It is coloured even if colours are not wanted: without them it is unreadable.
///
/// Error correction is the lowest (L): a screen has no scratches, and the picture stays small. The border is two modules wide,
/// or one if only that fits `window`. If the picture is still too large, as in 80x24 for a login of some ten letters outside
/// ASCII, the name that the authenticator shows is shortened.
///
/// # Errors
/// `Ok(Err(needed))` if `window` is too small for any name, with the smallest window that fits the whole name.
pub fn terminal_picture(uri: &str, window: Cells) -> Result<Result<TerminalPicture, Cells>, PictureError> {
    let whole = QrCode::with_error_correction_level(uri, EcLevel::L)?;
    if let Some(rows) = draw_within(&whole, window) {
        return Ok(Ok(TerminalPicture { rows, shortened: false }));
    }
    for shorter in shorter_names(uri) {
        let code = QrCode::with_error_correction_level(shorter.as_str(), EcLevel::L)?;
        if let Some(rows) = draw_within(&code, window) {
            return Ok(Ok(TerminalPicture { rows, shortened: true }));
        }
    }
    Ok(Err(picture_size(&whole, 1)))
}

/// The QR code of `text` as a PNG in black and white, with the full border.
///
/// # Errors
/// The text is longer than a QR code holds.
pub fn png_picture(text: &str) -> Result<Zeroizing<Vec<u8>>, PictureError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
    let side = (code.width() + 2 * PNG_BORDER) * PNG_SCALE;
    let mut pixels = Zeroizing::new(Vec::with_capacity(side * side));
    for y in 0..side {
        for x in 0..side {
            pixels.push(if is_dark(&code, x / PNG_SCALE, y / PNG_SCALE, PNG_BORDER) { 0 } else { 255 });
        }
    }
    let mut file = Zeroizing::new(Vec::new());
    let side = u32::try_from(side).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput)).map_err(png_io)?;
    let mut encoder = png::Encoder::new(&mut *file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

/// The secret of an `otpauth://` URI in groups of four letters, for typing; `None` if the URI has none.
pub fn secret_in_letters(uri: &str) -> Option<Zeroizing<String>> {
    let secret = secret_in_uri(uri)?;
    let letters = secret.chars().filter(char::is_ascii_alphanumeric);
    let mut grouped = Zeroizing::new(String::with_capacity(secret.len() * 5 / 4 + 1));
    for (position, letter) in letters.enumerate() {
        if position > 0 && position % 4 == 0 {
            grouped.push(' ');
        }
        grouped.push(letter);
    }
    (!grouped.is_empty()).then_some(grouped)
}

fn draw_within(code: &QrCode, window: Cells) -> Option<Zeroizing<String>> {
    let fits = |border: usize| {
        let size = picture_size(code, border);
        size.columns <= window.columns && size.rows <= window.rows
    };
    [2, 1].into_iter().find(|&border| fits(border)).map(|border| half_blocks(code, border))
}

/// The URI with less and less of the login in its label. The issuer is dropped there too; the query names it again.
fn shorter_names(uri: &str) -> impl Iterator<Item = Zeroizing<String>> {
    const SCHEME: &str = "otpauth://totp/";
    let parts = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('?'));
    let (label, query) = parts.unwrap_or_default();
    let name = label.rsplit_once(':').map_or(label, |(_, name)| name);
    // A cut must fall between characters, so not before a continuation byte (80 to BF).
    let is_start = |at: &usize| {
        let rest = name.get(*at..).unwrap_or_default();
        let in_escape = |back: usize| at.checked_sub(back).and_then(|start| name.get(start..=start)) == Some("%");
        let continues = matches!(rest.as_bytes(), [b'%', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..]);
        name.is_char_boundary(*at) && !in_escape(1) && !in_escape(2) && !continues
    };
    let cuts: Vec<usize> = (1..name.len()).rev().filter(is_start).collect();
    cuts.into_iter().filter_map(move |cut| {
        let name = name.get(..cut)?;
        Some(Zeroizing::new(format!("{SCHEME}{name}?{query}")))
    })
}

fn png_io(error: io::Error) -> PictureError {
    PictureError::Encoding(png::EncodingError::IoError(error))
}

fn picture_size(code: &QrCode, border: usize) -> Cells {
    let side = code.width() + 2 * border;
    Cells { columns: side, rows: side.div_ceil(2) }
}

/// Whether the module at (`x`, `y`) of the picture with its border is dark. Everything outside the code is light.
fn is_dark(code: &QrCode, x: usize, y: usize, border: usize) -> bool {
    let inside = border..border + code.width();
    inside.contains(&x) && inside.contains(&y) && code[(x - border, y - border)] == Color::Dark
}

fn half_blocks(code: &QrCode, border: usize) -> Zeroizing<String> {
    let size = picture_size(code, border);
    // At most three bytes per cell, plus the colours of each row: one allocation, so that no unwiped copy is left behind.
    let row_bytes = size.columns * 3 + INK_ON_PAPER.len() + PLAIN.len() + 1;
    let mut picture = Zeroizing::new(String::with_capacity(size.rows * row_bytes));
    for row in 0..size.rows {
        picture.push_str(INK_ON_PAPER);
        for x in 0..size.columns {
            let upper = is_dark(code, x, 2 * row, border);
            let lower = is_dark(code, x, 2 * row + 1, border);
            picture.push(match (upper, lower) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        picture.push_str(PLAIN);
        picture.push('\n');
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    /// An 80x24 window above a prompt.
    const WINDOW: Cells = Cells { columns: 80, rows: 23 };

    fn uri(login: &str) -> String {
        let mut label = String::new();
        for byte in login.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => label.push(char::from(byte)),
                _ => label.push_str(&format!("%{byte:02X}")),
            }
        }
        format!("otpauth://totp/grpc-otp-chat:{label}?secret={SECRET}&issuer=grpc-otp-chat")
    }

    /// Reads a picture of light and dark modules back with a QR reader.
    fn read_back(columns: usize, rows: usize, dark: impl Fn(usize, usize) -> bool) -> String {
        let scale = 4;
        let grey = |x: usize, y: usize| if dark(x / scale, y / scale) { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(columns * scale, rows * scale, grey);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one QR code in the picture");
        grids[0].decode().expect("it can be read").1
    }

    fn read_half_blocks(picture: &str) -> String {
        let rows: Vec<Vec<char>> = picture
            .lines()
            .map(|line| {
                let cells = line.strip_prefix(INK_ON_PAPER).expect("painted");
                cells.strip_suffix(PLAIN).expect("and back to plain").chars().collect()
            })
            .collect();
        read_back(rows[0].len(), rows.len() * 2, |x, y| match rows[y / 2][x] {
            '█' => true,
            '▀' => y % 2 == 0,
            '▄' => y % 2 == 1,
            ' ' => false,
            other => panic!("not a half block: {other:?}"),
        })
    }

    #[test]
    fn a_terminal_picture_is_readable_and_fits_80x24_above_a_prompt() {
        for login in ["al", "alice", &"a".repeat(32), "Жора", "Светлана", "Константин"] {
            let uri = uri(login);
            let drawn = terminal_picture(&uri, WINDOW).unwrap().expect("it fits");
            assert!(drawn.rows.lines().count() <= WINDOW.rows, "{login}");
            assert_eq!(drawn.shortened, login == "Константин", "{login}");
            if !drawn.shortened {
                assert_eq!(read_half_blocks(&drawn.rows), uri);
            }
        }
    }

    #[test]
    fn the_longest_logins_fit_80x24_with_a_shortened_name_and_the_complete_secret() {
        for login in ["Ж".repeat(32), "漢".repeat(32), "𝒜".repeat(32), "aЖ漢𝒜".repeat(8)] {
            let drawn = terminal_picture(&uri(&login), WINDOW).unwrap().expect("it fits");
            assert!(drawn.shortened && drawn.rows.lines().count() <= WINDOW.rows);
            let read = read_half_blocks(&drawn.rows);
            let (label, query) = read.strip_prefix("otpauth://totp/").unwrap().split_once('?').unwrap();
            assert_eq!(query, format!("secret={SECRET}&issuer=grpc-otp-chat"));
            let (whole, _) = uri(&login)
                .strip_prefix("otpauth://totp/grpc-otp-chat:")
                .unwrap()
                .split_once('?')
                .map(|(label, query)| (label.to_owned(), query.to_owned()))
                .unwrap();
            let rest = whole.strip_prefix(label).expect("the beginning of the name");
            assert!(label.len() > 24 && !rest.is_empty(), "{label}");
            assert!(
                !rest.starts_with(['8', '9', 'A', 'B']) && !rest.starts_with("%8") && !rest.starts_with("%9"),
                "{rest}"
            );
        }
    }

    #[test]
    fn a_window_too_small_for_any_name_learns_the_size_that_fits() {
        let uri = uri("alice");
        for small in [Cells { columns: 80, rows: 10 }, Cells { columns: 20, rows: 50 }, Cells { columns: 0, rows: 0 }] {
            let needed = terminal_picture(&uri, small).unwrap().expect_err("too small");
            let drawn = terminal_picture(&uri, needed).unwrap().expect("it fits now");
            assert_eq!(read_half_blocks(&drawn.rows), uri);
        }
        assert!(terminal_picture("nothing of the kind", Cells { columns: 1, rows: 1 }).unwrap().is_err());
    }

    #[test]
    fn a_png_picture_is_readable() {
        for login in ["alice", &"漢".repeat(32)] {
            let uri = uri(login);
            let file = png_picture(&uri).unwrap();
            let mut reader = png::Decoder::new(io::Cursor::new(&file[..])).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            let side = info.width as usize;
            assert_eq!(read_back(side, side, |x, y| pixels[y * side + x] < 128), uri);
        }
    }

    #[test]
    fn the_secret_is_shown_in_groups_of_four() {
        assert_eq!(secret_in_letters(&uri("alice")).unwrap().as_str(), "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP");
        assert_eq!(secret_in_letters("otpauth://totp/x?issuer=y&secret=ABCDE").unwrap().as_str(), "ABCD E");
        assert!(secret_in_letters("otpauth://totp/x?issuer=y").is_none());
        assert!(secret_in_letters("otpauth://totp/x?secret=").is_none());
        assert!(secret_in_letters("nothing of the kind").is_none());
    }
}
