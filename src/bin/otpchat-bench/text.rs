//! The texts that are sent: they say which message of which round they are, and when it was sent. A reader finds them in the
//! bytes of a stream.

/// The shortest text.
pub(crate) const LEAST_BYTES: usize = 40;

/// What a text says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextStamp {
    /// Its round.
    pub(crate) round: u32,
    /// Its number in the round, from 0.
    pub(crate) number: u32,
    /// When it was sent, or due, in microseconds by the generator's stopwatch.
    pub(crate) micros: u64,
}

impl TextStamp {
    /// A text of at least `bytes`.
    pub(crate) fn text(self, bytes: usize) -> String {
        let mut text = format!("bench {:06} {:08} {:014} ", self.round, self.number, self.micros);
        text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
        text
    }

    /// Reads a text; `None` if it is not from this program.
    pub(crate) fn read(text: &[u8]) -> Option<TextStamp> {
        let rest = text.strip_prefix(b"bench ")?;
        let small = |from, to| u32::try_from(number(rest, from, to)?).ok();
        Some(TextStamp { round: small(0, 6)?, number: small(7, 15)?, micros: number(rest, 16, 30)? })
    }
}

fn number(text: &[u8], from: usize, to: usize) -> Option<u64> {
    let digits = text.get(from..to)?;
    digits.iter().try_fold(0, |sum, &digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// What a stream brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamItem {
    /// A message: what its text says, if it is from this program, and its id.
    Message(Option<TextStamp>, u64),
    /// All stored messages have arrived.
    CaughtUp,
    /// Something is missing.
    Gap,
}

/// Reads an encoded `Message`. Reading only these two fields costs a tenth of decoding it.
pub(crate) fn message(bytes: &[u8]) -> StreamItem {
    let (mut stamp, mut id) = (None, 0);
    for field in Fields(bytes) {
        match field {
            (2, Value::Bytes(text)) => stamp = TextStamp::read(text),
            (4, Value::Number(number)) => id = number,
            _ => {}
        }
    }
    StreamItem::Message(stamp, id)
}

/// Reads an encoded `EventBatch`.
pub(crate) fn batch(bytes: &[u8], mut each: impl FnMut(StreamItem)) {
    for event in Fields(bytes) {
        let (1, Value::Bytes(event)) = event else { continue };
        for field in Fields(event) {
            match field {
                (2, Value::Bytes(bytes)) => each(message(bytes)),
                (3, Value::Bytes(_)) => each(StreamItem::CaughtUp),
                (4, Value::Bytes(_)) => each(StreamItem::Gap),
                _ => {}
            }
        }
    }
}

#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a protobuf message; ends early at malformed bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let fixed = match tag & 7 {
            0 => return Some((tag >> 3, Value::Number(self.varint()?))),
            1 => 8,
            5 => 4,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                return Some((tag >> 3, Value::Bytes(bytes)));
            }
            _ => return None,
        };
        self.0 = self.0.split_at_checked(fixed)?.1;
        Some((tag >> 3, Value::Other))
    }
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;

    use super::*;
    use grpc_otp_chat::proto::{CaughtUp, Event, EventBatch, Happened, Heartbeat, Message};

    const STAMP: TextStamp = TextStamp { round: 3, number: 41, micros: 1_234_567 };

    #[test]
    fn a_text_is_read_as_it_was_written() {
        for bytes in [0, LEAST_BYTES, 100, 4096] {
            let text = STAMP.text(bytes);
            assert_eq!(text.len(), bytes.max(37));
            assert_eq!(TextStamp::read(text.as_bytes()), Some(STAMP));
        }
        for other in ["", "hello", "bench ", "bench 000003 0000004x 00000001234567 "] {
            assert_eq!(TextStamp::read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn messages_are_found_in_the_bytes_of_both_streams() {
        let sent = Message { text: STAMP.text(100), author: "a".into(), id: 300, ..Default::default() };
        assert_eq!(message(&sent.write_to_bytes().unwrap()), StreamItem::Message(Some(STAMP), 300));
        let event = |event| Event { cursor: 9, event: Some(event), ..Default::default() };
        let events = vec![
            event(Happened::CaughtUp(CaughtUp::new())),
            event(Happened::Message(sent)),
            event(Happened::Heartbeat(Heartbeat::new())),
        ];
        let bytes = EventBatch { events, ..Default::default() }.write_to_bytes().unwrap();
        let mut found = Vec::new();
        batch(&bytes, |one| found.push(one));
        assert_eq!(found, [StreamItem::CaughtUp, StreamItem::Message(Some(STAMP), 300)]);
        for cut in 0..bytes.len() {
            batch(&bytes[..cut], |_| ());
        }
    }
}
