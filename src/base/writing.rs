//! What people write to each other, as people of every script write it.
//!
//! Persian needs the non-joiner, Hindi and Bengali both joiners, families and flags are sequences, Khmer separates words by a space
//! of no width. Such a character passes where it has its use, by the rules of Unicode that are named below, and is an escape
//! everywhere else: there it only hides something, or makes two texts look the same. What reorders its surroundings without a bound
//! (embeddings, overrides, isolates) is always an escape.

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};
use unicode_segmentation::UnicodeSegmentation;

use super::escape::{MAX_MARKS, TAB, is_treacherous};

/// Puts what follows it from left to right, whatever came before (UAX 9, section 2.6). It takes no column.
pub const LEFT_TO_RIGHT_MARK: char = '\u{200e}';

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';
/// The flags that are made of tags: England, Scotland, Wales (UTS 51, `RGI_Emoji_Flag_Tag_Sequence`).
const TAG_FLAGS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];
/// Pictures that are joined to one. The most in any sequence that Unicode recommends is 4.
const MAX_JOINED: usize = 5;

/// Scripts whose letters join, so that both joiners change how they look (UAX 44, `Joining_Type`).
const JOINING: &[Script] = &[
    Script::Arabic,
    Script::Syriac,
    Script::Mongolian,
    Script::Nko,
    Script::Mandaic,
    Script::Manichaean,
    Script::Phags_Pa,
    Script::Adlam,
    Script::Hanifi_Rohingya,
    Script::Sogdian,
];

/// Scripts that are written without spaces between words: U+200B says where a line may be broken (UAX 14, class ZW).
const WITHOUT_SPACES: &[Script] = &[
    Script::Khmer,
    Script::Thai,
    Script::Lao,
    Script::Myanmar,
    Script::Tibetan,
    Script::Javanese,
    Script::Balinese,
    Script::Tai_Le,
    Script::New_Tai_Lue,
    Script::Tai_Tham,
    Script::Tai_Viet,
];

/// One line of a text that a person wrote, harmless for a terminal. A tab becomes four spaces.
pub fn text_line(line: &str) -> String {
    // The common case, and the cheap one.
    if line.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return line.to_owned();
    }
    let line = Line::new(line);
    let mut shown = String::with_capacity(line.letters.len() * 2);
    let mut marks = 0;
    for (at, &letter) in line.letters.iter().enumerate() {
        marks = match letter {
            letter if is_combining_mark(letter) => marks + 1,
            NON_JOINER | JOINER => marks,
            _ => 0,
        };
        if letter == '\t' {
            shown.push_str(TAB);
        } else if marks > MAX_MARKS || is_treacherous(letter) && !line.has_use(at, letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Whether a character is an escape in every text, because no script has a use for it.
pub fn is_never_shown(letter: char) -> bool {
    let has_a_use = matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2800}' | '\u{fe00}'..='\u{fe0f}' | '\u{110bd}' | '\u{110cd}'
        | '\u{e0020}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}');
    is_treacherous(letter) && !has_a_use
}

/// Whether a text has letters or marks that are written from right to left. A terminal may then turn parts of its row around.
pub fn has_right_to_left(text: &str) -> bool {
    text.chars().any(|letter| {
        matches!(letter,
            '\u{590}'..='\u{8ff}' | '\u{200f}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
            | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
    })
}

/// A line with what its characters mean to each other.
struct Line {
    letters: Vec<char>,
    /// Where grapheme clusters begin (UAX 29).
    begins_cluster: Vec<bool>,
    right_to_left: bool,
    braille: bool,
}

impl Line {
    fn new(line: &str) -> Line {
        let letters: Vec<char> = line.chars().collect();
        let mut begins_cluster = Vec::with_capacity(letters.len());
        for cluster in line.graphemes(true) {
            begins_cluster.extend(cluster.chars().enumerate().map(|(place, _)| place == 0));
        }
        let braille = letters.iter().any(|letter| matches!(letter, '\u{2801}'..='\u{28ff}'));
        Line { begins_cluster, right_to_left: has_right_to_left(line), braille, letters }
    }

    fn before(&self, at: usize) -> Option<char> {
        self.letters.get(at.checked_sub(1)?).copied()
    }

    fn after(&self, at: usize) -> Option<char> {
        self.letters.get(at + 1).copied()
    }

    /// The letter before, without the marks on it.
    fn letter_before(&self, at: usize) -> Option<char> {
        self.letters.get(..at)?.iter().rev().copied().find(|&letter| !is_combining_mark(letter))
    }

    /// Whether a character that is treacherous elsewhere has its use here.
    fn has_use(&self, at: usize, letter: char) -> bool {
        let (before, after) = (self.before(at), self.after(at));
        match letter {
            NON_JOINER => self.parts_letters(at),
            JOINER => self.joins_letters(at) || self.joins_pictures(at),
            '\u{fe0e}' | '\u{fe0f}' => before.is_some_and(is_picture) || is_key(before) && after == Some(KEYCAP),
            '\u{fe00}'..='\u{fe02}' => before.is_some_and(has_variants),
            '\u{e0100}'..='\u{e01ef}' => is_of(before, &[Script::Han]),
            '\u{180b}'..='\u{180d}' | '\u{180f}' => is_of(before, &[Script::Mongolian]),
            '\u{180e}' => is_of(before, &[Script::Mongolian]) && is_of(after, &[Script::Mongolian]),
            '\u{ad}' => is_letter(self.letter_before(at)) && is_letter(after),
            '\u{200b}' => {
                is_of(before, WITHOUT_SPACES) && is_visible(after) || is_of(after, WITHOUT_SPACES) && is_visible(before)
            }
            // They have no effect beyond their line, need no partner, and people type them (UTS 55, section 3.2). A line without
            // letters from right to left has no use for them.
            '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                self.right_to_left
                    && self.letters.iter().any(|&letter| is_right_to_left_letter(letter))
                    && !before.is_some_and(is_direction_mark)
            }
            '\u{34f}' => is_of(self.letter_before(at), &[Script::Hebrew]) && after.is_some_and(is_combining_mark),
            // Signs of their own, drawn around digits and verses, although they are format characters.
            '\u{600}'..='\u{605}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{110bd}'
            | '\u{110cd}' => true,
            '\u{2800}' => self.braille,
            '\u{e0020}'..='\u{e007f}' => self.is_in_flag(at),
            _ => false,
        }
    }

    /// A non-joiner after a virama, or between letters that would join (RFC 5892, appendix A.1). It also passes after letters that
    /// join to one side only, and after digits, because Persian keyboards put it there.
    fn parts_letters(&self, at: usize) -> bool {
        is_virama(self.before(at)) || is_joining(self.letter_before(at)) && is_joining(self.after(at))
    }

    /// A joiner after a virama (RFC 5892, appendix A.2); before one, as in Bengali `র‍্য` and Sinhala (The Unicode Standard, sections
    /// 12.2 and 13.2); or beside a letter that it gives its joined form, as in Persian `ه‍`.
    fn joins_letters(&self, at: usize) -> bool {
        let (before, after) = (self.before(at), self.after(at));
        is_virama(before)
            || is_virama(after) && before.zip(after).is_some_and(|(before, after)| before.script() == after.script())
            || is_joining(self.letter_before(at))
            || is_joining(after) && !before.is_some_and(|before| matches!(before, JOINER | NON_JOINER))
    }

    /// A joiner between pictures: the rules for clusters keep what follows it with what is before it (UAX 29, rule GB11).
    fn joins_pictures(&self, at: usize) -> bool {
        let next_is_joined = self.begins_cluster.get(at + 1) == Some(&false) && self.after(at).is_some_and(is_picture);
        let begins = (0..=at).rev().find(|&place| self.begins_cluster.get(place) == Some(&true)).unwrap_or(0);
        let joined =
            self.letters.get(begins..=at).unwrap_or_default().iter().filter(|&&letter| letter == JOINER).count();
        next_is_joined && joined < MAX_JOINED
    }

    /// A tag that is part of a whole flag.
    fn is_in_flag(&self, at: usize) -> bool {
        let Some(flag) =
            self.letters.get(..at).and_then(|before| before.iter().rposition(|&letter| letter == BLACK_FLAG))
        else {
            return false;
        };
        let tags = self.letters.get(flag + 1..).unwrap_or_default();
        TAG_FLAGS.iter().any(|name| {
            let spelt = name.bytes().filter_map(|byte| char::from_u32(0xe0000 + u32::from(byte))).chain([CANCEL_TAG]);
            at <= flag + name.len() + 1 && spelt.eq(tags.iter().copied().take(name.len() + 1))
        })
    }
}

fn is_letter(letter: Option<char>) -> bool {
    letter.is_some_and(char::is_alphabetic)
}

fn is_visible(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| !letter.is_whitespace() && !is_treacherous(letter))
}

/// Whether a letter, digit or mark belongs to one of the scripts.
fn is_of(letter: Option<char>, scripts: &[Script]) -> bool {
    letter.is_some_and(|letter| scripts.contains(&letter.script()))
}

/// A letter of a script whose letters join, or a digit that its people use.
fn is_joining(letter: Option<char>) -> bool {
    let is_eastern_digit = matches!(letter, Some('\u{660}'..='\u{669}'));
    is_eastern_digit || is_of(letter, JOINING) && letter.is_some_and(char::is_alphanumeric)
}

/// Canonical_Combining_Class=Virama.
fn is_virama(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| canonical_combining_class(letter) == 9)
}

/// A picture, or a sign that has one. Digits, which have one on a keycap only, and skin tones are none.
fn is_picture(letter: char) -> bool {
    !letter.is_ascii() && letter.is_emoji_char() && !matches!(letter, '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_key(letter: Option<char>) -> bool {
    matches!(letter, Some('0'..='9' | '#' | '*'))
}

/// What the first variation selectors choose a form of (`StandardizedVariants.txt`).
fn has_variants(letter: char) -> bool {
    letter.general_category() == GeneralCategory::MathSymbol && !letter.is_ascii()
        || is_of(Some(letter), &[Script::Han, Script::Myanmar, Script::Phags_Pa])
}

fn is_direction_mark(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{61c}')
}

fn is_right_to_left_letter(letter: char) -> bool {
    letter.is_alphanumeric() && has_right_to_left(letter.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_every_script_are_shown_as_they_were_written() {
        for text in [
            // Pictures.
            "👩\u{200d}💻 👨\u{200d}👩\u{200d}👧\u{200d}👦 🏳\u{fe0f}\u{200d}🌈 🧑🏽\u{200d}🤝\u{200d}🧑🏿 ❤\u{fe0f}\u{200d}🔥",
            "🧑🏻\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}🧑🏼 🏃\u{200d}♀\u{fe0f}\u{200d}➡\u{fe0f} 👍🏿 🇩🇪🇯🇵 ☎\u{fe0e} ©\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} against 🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            "1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3} 3\u{20e3}",
            // Persian, Arabic with marks and a verse, Urdu, Syriac, N'Ko.
            "می\u{200c}خواهم خانه\u{200c}ها کار\u{200c}ها ۲۰\u{200c}ساله سال ۱۴۰۰ ه\u{200d}.ش",
            "السَّلَامُ عَلَيْكُمْ ۝ \u{6dd}١٢ لِلّٰه",
            "שָׁלוֹם עֲלֵיכֶם \u{200f}(שלום)\u{200e} C#\u{200e}, יְרוּשָׁלַ\u{34f}ִם",
            // Indic scripts: Hindi, Marathi, Bengali, Malayalam, Kannada, Sinhala, Tamil.
            "नमस्ते क्\u{200d}ष क्\u{200c}ष श्रीमान्\u{200c} ऱ्\u{200d}य",
            "র\u{200d}্যাব উত্\u{200d} ന്\u{200d} ರ\u{200d}್ಕ ශ්\u{200d}රී ලංකා வணக்கம்",
            // Thai, Khmer and Burmese with their word breaks, Lao, Tibetan.
            "ที่นี่น้ำ สวัสดี ភាសា\u{200b}ខ្មែរ ឆ្នាំ\u{200b}2024 မြန်မာ\u{200b}စာ ສະບາຍດີ བསྒྲུབས",
            // Mongolian, Japanese and Chinese variants, a mathematical one, Korean in both forms.
            "ᠮᠣᠩᠭᠣᠯ\u{180e}ᠠ ᠭ\u{180b} 葛\u{e0100}城 辻\u{e0100} ∩\u{fe00} 한국어 한국어",
            // Vietnamese in both forms, Yoruba, a soft hyphen, Braille.
            "Tiếng Việt Tiếng Việt ọ̀rọ̀ co\u{ad}operate ⠓⠑⠇⠇⠕\u{2800}⠺",
            "Привет, ё, й, 漢字, l'été, Ωμέγα, ქართული, አማርኛ, Հայերեն",
        ] {
            assert_eq!(text_line(text), text);
        }
    }

    #[test]
    fn what_deceives_is_an_escape() {
        for (text, shown) in [
            // What reorders without a bound.
            ("a\u{202e}b\u{202a}c\u{202c}", "a\\u{202e}b\\u{202a}c\\u{202c}"),
            ("ש\u{2067}b\u{2069}\u{202b}", "ש\\u{2067}b\\u{2069}\\u{202b}"),
            // Marks of direction where nothing has another one, and in numbers.
            ("pay\u{200e}pal \u{200f}", "pay\\u{200e}pal \\u{200f}"),
            ("ש\u{200f}\u{200f}!", "ש\u{200f}\\u{200f}!"),
            // Joiners without anything to join or to part.
            ("\u{200d}\u{200c}a\u{200d}b\u{200c}c", "\\u{200d}\\u{200c}a\\u{200d}b\\u{200c}c"),
            ("می\u{200c} خ\u{200c}\u{200c}و", "می\\u{200c} خ\\u{200c}\\u{200c}و"),
            ("🙂\u{200d} 🙂\u{200d}a \u{200d}🙂", "🙂\\u{200d} 🙂\\u{200d}a \\u{200d}🙂"),
            // Tags outside of a flag, in a flag that there is not, and after one.
            ("hi\u{e0068}\u{e0069}", "hi\\u{e0068}\\u{e0069}"),
            ("🏴\u{e0075}\u{e0073}\u{e007f}", "🏴\\u{e0075}\\u{e0073}\\u{e007f}"),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}\u{e0068}",
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}\\u{e0068}",
            ),
            // Selectors that select nothing can carry a hidden text.
            ("a\u{fe0f}\u{e0100} 1\u{fe0f}", "a\\u{fe0f}\\u{e0100} 1\\u{fe0f}"),
            ("❤\u{fe0f}\u{fe0f} 葛\u{e0100}\u{e0101}", "❤\u{fe0f}\\u{fe0f} 葛\u{e0100}\\u{e0101}"),
            // Spaces of no width, soft hyphens and blanks that are letters.
            ("a\u{200b}b\u{feff}\u{2060}c", "a\\u{200b}b\\u{feff}\\u{2060}c"),
            ("ខ្មែរ\u{200b}\u{200b}ខ្មែរ", "ខ្មែរ\\u{200b}\\u{200b}ខ្មែរ"),
            ("\u{ad}a\u{ad}\u{ad}b", "\\u{ad}a\\u{ad}\\u{ad}b"),
            ("\u{3164}\u{ffa0}\u{115f}\u{2800}", "\\u{3164}\\u{ffa0}\\u{115f}\\u{2800}"),
            ("x\u{34f}\u{301} \u{2062}\u{17b4}", "x\\u{34f}\u{301} \\u{2062}\\u{17b4}"),
            // What has no meaning that a terminal could show.
            ("\u{e000}\u{378}\u{1ffff}\u{fff9}a\u{fffa}b", "\\u{e000}\\u{378}\\u{1ffff}\\u{fff9}a\\u{fffa}b"),
            ("\x1b[2J\u{9b}\r\u{2028}", "\\u{1b}[2J\\u{9b}\\u{d}\\u{2028}"),
        ] {
            assert_eq!(text_line(text), shown, "{text:?}");
        }
    }

    #[test]
    fn piles_of_marks_and_chains_of_pictures_have_an_end() {
        let shown = text_line(&format!("z{}", "\u{300}\u{200d}\u{fe0f}".repeat(9)));
        assert_eq!(shown.matches('\u{300}').count(), 2, "{shown:?}");
        let shown = text_line(&format!("z{}", "\u{310}".repeat(50)));
        assert_eq!(shown.chars().filter(|&mark| mark == '\u{310}').count(), MAX_MARKS);
        let shown = text_line(&"👩\u{200d}".repeat(20));
        assert_eq!(shown.matches("👩\u{200d}").count(), MAX_JOINED - 1, "{shown:?}");
        assert_eq!(text_line("a\tb"), "a    b");
    }

    proptest! {
        #[test]
        fn nothing_is_shown_that_is_never_shown_and_doing_it_twice_changes_nothing(text in any::<String>()) {
            let shown = text_line(&text.replace('\n', ""));
            prop_assert!(!shown.chars().any(is_never_shown), "{:?}", shown);
            prop_assert_eq!(text_line(&shown), shown.clone());
        }

        #[test]
        fn harmless_text_is_left_alone(text in "[a-zA-Zа-яА-Я0-9 .,!?\\[\\]\\\\-]{0,200}") {
            prop_assert_eq!(text_line(&text), text);
        }
    }
}
