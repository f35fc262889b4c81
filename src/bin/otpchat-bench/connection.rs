//! A connection to the server that never blocks on reading.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::http2::{self, Frame, Headers};

/// How long the server may take to accept a connection, and to take what is sent.
const SERVER_LIMIT: Duration = Duration::from_secs(10);
/// How much is read at once.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// The connection's window is renewed once this much has arrived.
const RENEW_BYTES: u32 = 1 << 24;

/// What a connection brings.
#[derive(Debug)]
pub(crate) enum StreamEvent<'a> {
    /// A piece of a stream's answer.
    Data(u32, &'a [u8]),
    /// A stream has ended, with an HTTP/2 error code if it was reset.
    End(u32, Option<u32>),
}

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
    /// The id of the next stream.
    next_stream: u32,
    /// How many bytes the server takes until it renews the window.
    window: i64,
    /// How many bytes have arrived since the window of the connection was renewed.
    unacknowledged: u32,
    /// The same of each stream, and the window of a stream.
    unacknowledged_of: Vec<u32>,
    stream_window: u32,
}

impl Connection {
    /// Connects; the server may send `window` bytes on a stream before they are acknowledged.
    ///
    /// # Errors
    /// The server does not listen, or the system refuses.
    pub(crate) fn open(address: SocketAddr, window: u32) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&address, SERVER_LIMIT)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut new = Connection {
            socket,
            partial: Vec::new(),
            next_stream: 1,
            window: http2::FIRST_WINDOW.into(),
            unacknowledged: 0,
            unacknowledged_of: Vec::new(),
            stream_window: window,
        };
        let mut hello = Vec::new();
        http2::begin(&mut hello, window);
        new.write(&hello)?;
        Ok(new)
    }

    /// Appends a call to `out`, for the caller to write at once; returns the stream of its answer, or `None` if the server's
    /// window is used up.
    pub(crate) fn call(&mut self, out: &mut Vec<u8>, headers: &Headers, message: &[u8]) -> Option<u32> {
        let bytes = i64::try_from(http2::call_bytes(message)).ok()?;
        if bytes > self.window {
            return None;
        }
        self.window -= bytes;
        let stream = self.next_stream;
        self.next_stream += 2;
        http2::call(out, stream, if stream == 1 { &headers.first } else { &headers.again }, message);
        Some(stream)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The connection broke, or the server takes nothing for ten seconds.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !wait([&*self], PollFlags::OUT, SERVER_LIMIT)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived, with a buffer of [`READ_BYTES`] that connections share.
    ///
    /// Returns whether more may have arrived.
    ///
    /// # Errors
    /// The connection broke, or the server ends it.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(StreamEvent<'_>)) -> io::Result<bool> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        let read = match self.socket.read(&mut buffer[kept..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let filled = kept + read;
        let mut at = 0;
        let mut answer = Vec::new();
        while let Some((frame, length)) = http2::first_frame(&buffer[at..filled]) {
            at += length;
            self.frame(&frame, &mut answer, &mut each)?;
        }
        self.partial.clear();
        self.partial.extend_from_slice(&buffer[at..filled]);
        if self.partial.len() >= READ_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is larger than agreed"));
        }
        if self.unacknowledged > RENEW_BYTES {
            let more = std::mem::take(&mut self.unacknowledged).to_be_bytes();
            http2::frame(&mut answer, http2::WINDOW, 0, 0, &more);
        }
        self.write(&answer)?;
        Ok(filled == buffer.len())
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        answer: &mut Vec<u8>,
        each: &mut impl FnMut(StreamEvent<'_>),
    ) -> io::Result<()> {
        let over = frame.flags & http2::END_STREAM != 0;
        match frame.kind {
            http2::DATA => {
                self.acknowledge(frame, answer);
                each(StreamEvent::Data(frame.stream, frame.data()));
                if over {
                    each(StreamEvent::End(frame.stream, None));
                }
            }
            http2::HEADERS if over => each(StreamEvent::End(frame.stream, None)),
            http2::RST_STREAM => each(StreamEvent::End(frame.stream, Some(frame.number()))),
            http2::SETTINGS if frame.flags & http2::ACK == 0 => {
                http2::frame(answer, http2::SETTINGS, http2::ACK, 0, &[])
            }
            http2::PING if frame.flags & http2::ACK == 0 => {
                http2::frame(answer, http2::PING, http2::ACK, 0, frame.payload);
            }
            http2::WINDOW if frame.stream == 0 => self.window += i64::from(frame.number()),
            http2::GOAWAY => {
                let words = String::from_utf8_lossy(frame.payload.get(8..).unwrap_or_default()).into_owned();
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, format!("the server hangs up: {words}")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Renews the window of a stream once half of it has arrived.
    fn acknowledge(&mut self, frame: &Frame<'_>, answer: &mut Vec<u8>) {
        let bytes = u32::try_from(frame.payload.len()).unwrap_or(0);
        self.unacknowledged += bytes;
        if self.stream_window == http2::LARGEST_WINDOW {
            return;
        }
        let which = frame.stream as usize / 2;
        if which >= self.unacknowledged_of.len() {
            self.unacknowledged_of.resize(which + 1, 0);
        }
        let of_stream = &mut self.unacknowledged_of[which];
        *of_stream += bytes;
        if *of_stream >= self.stream_window / 2 {
            let more = std::mem::take(of_stream).to_be_bytes();
            http2::frame(answer, http2::WINDOW, 0, frame.stream, &more);
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until one of the connections can be read or written; returns whether one can.
///
/// # Errors
/// The system refuses.
pub(crate) fn wait<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
    what: PollFlags,
    limit: Duration,
) -> io::Result<bool> {
    let mut each: Vec<_> = connections.into_iter().map(|connection| PollFd::new(connection, what)).collect();
    match poll(&mut each, Some(&timespec(limit))) {
        Ok(ready) => Ok(ready > 0),
        // A signal: the caller looks whether to stop.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A duration as the system's calls take it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}
