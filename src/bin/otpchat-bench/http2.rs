//! As much of HTTP/2 (RFC 9113) and gRPC as a load generator needs: bytes in, bytes out.
//!
//! grpcio spends ten times as much on reading a message as a fast server does on sending it, and would measure itself. Response
//! headers are ignored: a call succeeded if its answer has arrived.

use grpc_otp_chat::NAME;
use grpc_otp_chat::proto::methods::{CLIENT_KEY, TOKEN_KEY};

/// The first bytes of a client (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// The window of both sides until their settings arrive (RFC 9113, section 6.9.2).
pub(crate) const FIRST_WINDOW: u32 = 65_535;
/// The largest window there is.
pub(crate) const LARGEST_WINDOW: u32 = 0x7fff_ffff;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
/// WINDOW_UPDATE.
pub(crate) const WINDOW: u8 = 8;

/// The last frame of a stream; on SETTINGS and PING, an acknowledgement.
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// The payload of a DATA frame without its padding.
    pub(crate) fn data(&self) -> &[u8] {
        if self.flags & PADDED == 0 {
            return self.payload;
        }
        let Some((&padding, rest)) = self.payload.split_first() else { return &[] };
        rest.get(..rest.len().saturating_sub(padding.into())).unwrap_or_default()
    }

    /// The four bytes of a WINDOW_UPDATE or an RST_STREAM as a number.
    pub(crate) fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

/// The first frame of `bytes`, and its length; `None` if it is incomplete.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
    let end = HEAD_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = bytes.get(HEAD_BYTES..end)?;
    Some((Frame { kind, flags, stream: u32::from_be_bytes(stream) & LARGEST_WINDOW, payload }, end))
}

/// Appends a frame. Our payloads are below the 16 KiB that every peer takes.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends the preface and settings of a client: a window of `window` bytes for each stream, the largest for the connection.
pub(crate) fn begin(out: &mut Vec<u8>, window: u32) {
    const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
    const ENABLE_PUSH_OFF: [u8; 6] = [0, 2, 0, 0, 0, 0];
    out.extend_from_slice(PREFACE);
    let settings = [&ENABLE_PUSH_OFF[..], &INITIAL_WINDOW_SIZE, &window.to_be_bytes()].concat();
    frame(out, SETTINGS, 0, 0, &settings);
    frame(out, WINDOW, 0, 0, &(LARGEST_WINDOW - FIRST_WINDOW).to_be_bytes());
}

/// Appends a call with its one message.
pub(crate) fn call(out: &mut Vec<u8>, stream: u32, headers: &[u8], message: &[u8]) {
    frame(out, HEADERS, END_HEADERS, stream, headers);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let body = [&[0][..], &length.to_be_bytes(), message].concat();
    frame(out, DATA, END_STREAM, stream, &body);
}

/// How many bytes of the window a [`call`] uses.
pub(crate) fn call_bytes(message: &[u8]) -> usize {
    message.len() + 5
}

/// The headers of the calls of one connection, packed by HPACK (RFC 7541).
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// Of its first call: the server indexes them.
    pub(crate) first: Vec<u8>,
    /// Of all later calls: the indexes.
    pub(crate) again: Vec<u8>,
}

impl Headers {
    /// The headers of calls to a method.
    pub(crate) fn new(method: &str, authority: &str, token: Option<&str>) -> Headers {
        // `:method: POST` and `:scheme: http`. Then literals with incremental indexing, by the index of their name if it has
        // one: `:path`, `:authority`, `content-type`.
        const FIXED: [u8; 2] = [0x83, 0x86];
        const LITERAL: u8 = 0x40;
        /// The index of the newest literal, as a field.
        const NEWEST: u8 = 0x80 | 62;
        let mut first = FIXED.to_vec();
        for (name, value) in [(4, method), (1, authority), (31, "application/grpc")] {
            first.push(LITERAL | name);
            text(&mut first, value);
        }
        let named = [("te", Some("trailers")), (CLIENT_KEY, Some(NAME)), (TOKEN_KEY, token)]
            .map(|(name, value)| Some((name, value?)));
        let mut literals: u8 = 3;
        for (name, value) in named.into_iter().flatten() {
            first.push(LITERAL);
            text(&mut first, name);
            text(&mut first, value);
            literals += 1;
        }
        let again = FIXED.into_iter().chain((0..literals).rev().map(|age| NEWEST + age)).collect();
        Headers { first, again }
    }
}

/// RFC 7541, sections 5.1 and 5.2: a length with a prefix of seven bits, and the octets without Huffman coding.
fn text(out: &mut Vec<u8>, text: &str) {
    const PREFIX: usize = 127;
    let mut length = text.len();
    if length < PREFIX {
        out.push(low_bits(length));
    } else {
        out.push(low_bits(PREFIX));
        length -= PREFIX;
        while length >= 128 {
            out.push(low_bits(length) | 0x80);
            length >>= 7;
        }
        out.push(low_bits(length));
    }
    out.extend_from_slice(text.as_bytes());
}

fn low_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

/// Reassembles the gRPC messages of one stream.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    partial: Vec<u8>,
}

impl MessageReader {
    /// Takes the data of a DATA frame, and passes on each complete message.
    pub(crate) fn take(&mut self, data: &[u8], mut each: impl FnMut(&[u8])) {
        if self.partial.is_empty() {
            let rest = whole(data, &mut each);
            self.partial.extend_from_slice(rest);
        } else {
            self.partial.extend_from_slice(data);
            let rest = whole(&self.partial, &mut each).len();
            self.partial.drain(..self.partial.len() - rest);
            if self.partial.is_empty() {
                // Frees the memory: there are thousands of streams, and most messages arrive in one piece.
                self.partial = Vec::new();
            }
        }
    }
}

/// Passes on the complete messages at the start of `bytes`; returns the rest.
fn whole<'a>(mut bytes: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else { break };
        each(message);
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_once_it_is_complete() {
        let mut bytes = Vec::new();
        frame(&mut bytes, DATA, END_STREAM, 7, b"abc");
        for cut in 0..bytes.len() {
            assert_eq!(first_frame(&bytes[..cut]), None);
        }
        bytes.extend_from_slice(b"more");
        let (read, length) = first_frame(&bytes).unwrap();
        assert_eq!(read, Frame { kind: DATA, flags: END_STREAM, stream: 7, payload: b"abc" });
        assert_eq!(&bytes[length..], b"more");
        let padded = Frame { kind: DATA, flags: PADDED, stream: 1, payload: &[2, b'x', 0, 0] };
        assert_eq!(padded.data(), b"x");
        let wrong = Frame { kind: DATA, flags: PADDED, stream: 1, payload: &[9, b'x'] };
        assert_eq!(wrong.data(), b"");
    }

    /// RFC 7541, C.1.2: 1337 with a prefix of five bits; ours has seven, so 1337 - 127 = 1210 = 9 * 128 + 58.
    #[test]
    fn lengths_are_packed_as_hpack_asks() {
        let packed = |length: usize| {
            let mut out = Vec::new();
            text(&mut out, &"x".repeat(length));
            out.truncate(out.len() - length);
            out
        };
        assert_eq!(packed(0), [0]);
        assert_eq!(packed(126), [126]);
        assert_eq!(packed(127), [127, 0]);
        assert_eq!(packed(1337), [127, 0x80 | 58, 9]);
    }

    #[test]
    fn messages_are_reassembled_however_they_were_cut() {
        let mut stream = Vec::new();
        for message in [&b"one"[..], b"", b"three"] {
            stream.push(0);
            stream.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            stream.extend_from_slice(message);
        }
        for piece in 1..=stream.len() {
            let (mut messages, mut got) = (MessageReader::default(), Vec::new());
            for part in stream.chunks(piece) {
                messages.take(part, |message| got.push(message.to_vec()));
            }
            assert_eq!(got, [&b"one"[..], b"", b"three"], "in pieces of {piece}");
            assert!(messages.partial.is_empty());
        }
    }
}
