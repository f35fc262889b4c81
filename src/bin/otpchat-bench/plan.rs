//! Which streams are opened, and how.

use std::net::SocketAddr;
use std::ops::Range;

use clap::ValueEnum;

use grpc_otp_chat::proto::methods;
use grpc_otp_chat::security::secret::SecretText;

/// The call that opens a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamKind {
    /// `Messaging.Subscribe`: many events in one gRPC message.
    Subscribe,
    /// `Messaging.MessageStream`: one gRPC message for each.
    MessageStream,
}

impl StreamKind {
    /// The path of the call.
    pub(crate) fn method(self) -> &'static str {
        match self {
            StreamKind::Subscribe => methods::SUBSCRIBE.name,
            StreamKind::MessageStream => methods::MESSAGE_STREAM.name,
        }
    }

    /// The encoded message of the call.
    pub(crate) fn request(self) -> &'static [u8] {
        match self {
            // SubscribeRequest { now: true }
            StreamKind::Subscribe => &[0x08, 0x01],
            StreamKind::MessageStream => &[],
        }
    }
}

/// What reads the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReaderKind {
    /// As little as it takes, so that the server is what is measured.
    Light,
    /// grpcio, as an ordinary client.
    Grpcio,
}

/// Which streams are opened, and how.
#[derive(Clone, Debug)]
pub(crate) struct StreamPlan {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The call.
    pub(crate) kind: StreamKind,
    /// How many connections.
    pub(crate) connections: u32,
    /// How many streams in total.
    pub(crate) streams: u32,
    /// How many bytes the server may send on a stream before they are acknowledged.
    pub(crate) window: u32,
    /// The tokens of the connections, used in turn; `None` for a server without login.
    pub(crate) tokens: Vec<Option<SecretText>>,
    /// The server's name in the calls.
    pub(crate) authority: String,
    /// What reads the streams.
    pub(crate) reader: ReaderKind,
}

impl StreamPlan {
    /// The streams of a connection; they are spread evenly.
    pub(crate) fn streams_of(&self, connection: u32) -> Range<usize> {
        let bound = |n: u32| n as usize * self.streams as usize / self.connections as usize;
        bound(connection)..bound(connection + 1)
    }

    /// The token of a connection.
    pub(crate) fn token_of(&self, connection: u32) -> Option<&SecretText> {
        self.tokens.get(connection as usize % self.tokens.len().max(1))?.as_ref()
    }
}
