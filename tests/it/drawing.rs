//! Terminals that draw letters in different ways, as a model: to see what a person sees on each of them.

use unicode_properties::UnicodeEmoji;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a terminal takes columns for letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// Each character for itself, by `wcwidth`.
    Characters,
    /// Each grapheme cluster as one picture.
    Clusters,
    /// Each character for itself, and every sign that has a picture is one of two columns.
    WidePictures,
    /// Each character for itself, with a box for what is a format character.
    Boxes,
    /// Each character for itself, and those that are ambiguous have two columns.
    AmbiguousWide,
}

impl Drawing {
    pub(crate) const ALL: [Drawing; 5] =
        [Drawing::Characters, Drawing::Clusters, Drawing::WidePictures, Drawing::Boxes, Drawing::AmbiguousWide];

    fn pieces(self, text: &str) -> Vec<(String, usize)> {
        if self == Drawing::Clusters {
            return text.graphemes(true).map(|cluster| (cluster.to_owned(), cluster.width())).collect();
        }
        text.chars().map(|letter| (letter.to_string(), self.width(letter))).collect()
    }

    fn width(self, letter: char) -> usize {
        let usual = letter.width().unwrap_or(0);
        match self {
            Drawing::WidePictures if letter > '\u{2000}' && letter.is_emoji_char() => 2,
            Drawing::Boxes if matches!(letter, '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}') => {
                1
            }
            Drawing::AmbiguousWide => letter.width_cjk().unwrap_or(0),
            _ => usual,
        }
    }
}

/// A terminal on which nothing scrolls away.
pub(crate) struct DrawnScreen {
    drawing: Drawing,
    columns: usize,
    /// Whether it leaves autowrap when it is told to.
    obeys_autowrap: bool,
    autowrap: bool,
    rows: Vec<Vec<String>>,
    row: usize,
    column: usize,
}

impl DrawnScreen {
    pub(crate) fn new(drawing: Drawing, columns: usize, obeys_autowrap: bool) -> DrawnScreen {
        DrawnScreen { drawing, columns, obeys_autowrap, autowrap: true, rows: vec![Vec::new()], row: 0, column: 0 }
    }

    /// What stands in each row.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.concat().trim_end().to_owned()).collect()
    }

    /// Draws what a program wrote.
    pub(crate) fn draw(&mut self, mut text: &str) {
        while let Some(at) = text.find(|letter: char| letter.is_control()) {
            let (plain, rest) = text.split_at(at);
            self.put(plain);
            text = self.control(rest);
        }
        self.put(text);
    }

    fn control<'t>(&mut self, text: &'t str) -> &'t str {
        match text.as_bytes()[0] {
            b'\r' => self.column = 0,
            b'\n' => {
                // The system's terminal driver puts a carriage return before it.
                self.column = 0;
                self.down();
            }
            0x1b => return self.sequence(&text[1..]),
            other => panic!("the console wrote the control character {other:#x}"),
        }
        &text[1..]
    }

    fn sequence<'t>(&mut self, text: &'t str) -> &'t str {
        let Some(rest) = text.strip_prefix('[') else { panic!("a sequence: {text:.20?}") };
        let end = rest.find(|letter: char| letter.is_ascii_alphabetic()).expect("its end");
        let (parameter, last) = (&rest[..end], rest.as_bytes()[end]);
        let number = parameter.parse().unwrap_or(1).max(1);
        match (last, parameter) {
            (b'A', _) => self.row = self.row.saturating_sub(number),
            (b'C', _) => self.column = (self.column + number).min(self.columns - 1),
            (b'D', _) => self.column = self.column.min(self.columns).saturating_sub(number),
            (b'B', _) => (0..number).for_each(|_| self.down()),
            (b'K', _) => self.rows[self.row].truncate(self.column),
            (b'J', _) => {
                self.rows.truncate(self.row + 1);
                self.rows[self.row].truncate(self.column);
            }
            (b'h' | b'l', "?7") if self.obeys_autowrap => self.autowrap = last == b'h',
            (b'h' | b'l' | b'm', _) => {}
            _ => panic!("a sequence that the model does not know: {parameter}{}", char::from(last)),
        }
        &rest[end + 1..]
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn put(&mut self, text: &str) {
        for (piece, width) in self.drawing.pieces(text) {
            if self.column + width > self.columns {
                if !self.autowrap {
                    // The last column is drawn over.
                    self.column = self.columns - width;
                } else {
                    self.column = 0;
                    self.down();
                }
            }
            let row = &mut self.rows[self.row];
            row.resize(row.len().max(self.column + width), " ".to_owned());
            if width == 0 {
                match self.column.checked_sub(1).and_then(|before| row.get_mut(before)) {
                    Some(before) => before.push_str(&piece),
                    None => continue,
                }
                continue;
            }
            row[self.column] = piece;
            row[self.column + 1..self.column + width].fill(String::new());
            self.column += width;
        }
    }
}
