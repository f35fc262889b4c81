//! Frames: a message encoded once and shared by reference between all streams.

use grpcio::{Error, GrpcSlice, Marshaller, Method, MethodType, pb_de, pb_ser};
use protobuf::Message as _;

use crate::hub::Frame;
use crate::proto::{Empty, Message, timestamp};
use crate::store::StoredMessage;

/// `Messaging.MessageStream` as the server writes it: cloning a slice counts a reference, it copies nothing.
pub static MESSAGE_STREAM: Method<Empty, GrpcSlice> = Method {
    ty: MethodType::ServerStreaming,
    name: super::methods::MESSAGE_STREAM.name,
    req_mar: Marshaller { ser: pb_ser, de: pb_de },
    resp_mar: Marshaller {
        ser: |frame, buffer| {
            *buffer = frame.clone();
            Ok(())
        },
        de: |_| Err(Error::Codec("frames are only written".into())),
    },
};

/// Encodes a message.
///
/// # Errors
/// The encoder's; none is known for messages of ours.
pub fn frame(message: &StoredMessage) -> Result<Frame<GrpcSlice>, protobuf::Error> {
    let mut encoded = Message::new();
    encoded.author.clone_from(&message.author);
    encoded.text.clone_from(&message.text);
    encoded.send_time = Some(timestamp(message.sent_at)).into();
    encoded.id = message.id.unsigned_abs();
    let mut bytes = encoded.write_to_bytes()?;
    // A vector without spare room becomes a slice without a copy.
    bytes.shrink_to_fit();
    Ok(Frame { id: message.id, body: GrpcSlice::from(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    #[test]
    fn a_frame_is_the_message_that_clients_read() {
        let stored = StoredMessage {
            id: 7,
            author: "user1".into(),
            text: "Привет!".into(),
            sent_at: Time::from_micros(1_500_001),
        };
        let frame = frame(&stored).unwrap();
        let read = Message::parse_from_bytes(frame.body.as_slice()).unwrap();
        assert_eq!((read.id, read.author.as_str(), read.text.as_str()), (7, "user1", "Привет!"));
        assert_eq!((read.send_time.seconds, read.send_time.nanos), (1, 500_001_000));
    }
}
