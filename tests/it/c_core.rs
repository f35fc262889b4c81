//! What c-core/ mends in gRPC's C core is mended in this build.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::LIMIT;
use crate::test_server::TestServer;

/// A build that has the C core from before a mend fails here; cargo does not always notice.
const REMEDY: &str = "the C core of this build is not the one of c-core/: run `cargo clean -p grpcio-sys --release`";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header field in plain letters; `kept` puts it into the server's HPACK table, as entry 62.
fn field(name: &str, value: &str, kept: bool) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    let mut field = vec![if kept { 0x40 } else { 0 }, length(name)];
    field.extend_from_slice(name.as_bytes());
    field.push(length(value));
    field.extend_from_slice(value.as_bytes());
    field
}

/// The frames of a call without a message: its usual fields, then `more`.
fn call(stream: u8, more: &[u8]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/Auth/Login"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut fields: Vec<u8> = usual.into_iter().flat_map(|(name, value)| field(name, value, false)).collect();
    fields.extend_from_slice(more);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
}

/// The kind of the first frame that the server sends on each of these streams.
fn answers<const N: usize>(connection: &mut TcpStream, streams: [u8; N]) -> [u8; N] {
    let mut kinds = [None; N];
    while kinds.contains(&None) {
        let mut head = [0; 9];
        connection.read_exact(&mut head).expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        connection.read_exact(&mut vec![0; length]).expect("a payload");
        if let Some(at) = streams.iter().position(|stream| head[5..] == [0, 0, 0, *stream]) {
            kinds[at].get_or_insert(head[3]);
        }
    }
    kinds.map(|kind| kind.expect("a frame"))
}

/// CVE-2024-7246: a field that is in order must not be kept with the error of an earlier field of its block. A proxy carries
/// the calls of many clients over one connection, and one of them could have had the others refused.
#[test]
fn an_error_of_one_header_field_stays_with_that_field() {
    let server = TestServer::open();
    let mut connection = TcpStream::connect(("127.0.0.1", server.running().port())).expect("it listens");
    connection.set_read_timeout(Some(LIMIT)).expect("a limit");
    // Capitals are against the rules. After the first call, entry 63 of the table is the bad field, and 62 the good one.
    let bytes = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        call(1, &[field("Bad", "1", true), field("good", "1", true)].concat()),
        call(3, &[0x80 | 62]),
        call(5, &[0x80 | 63]),
    ];
    connection.write_all(&bytes.concat()).expect("it reads");
    let [bad, good, bad_again] = answers(&mut connection, [1, 3, 5]);
    assert_eq!(bad, RST_STREAM, "a call with a bad field");
    assert_eq!(good, HEADERS, "{REMEDY}");
    assert_eq!(bad_again, RST_STREAM, "a call that repeats the bad field");
}
