//! An authenticator app: reads the QR code and makes codes.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::bounded;
use grpc_otp_chat::base::clock::Clock;
use totp_rs::{Builder, Secret, Totp};

const STEP_SECS: u64 = 30;
/// How long a code may be on its way from the authenticator to the server.
const TYPING_SECS: u64 = 12;

/// One entry of an authenticator.
pub(crate) struct Authenticator {
    totp: Totp,
    /// The last step a code was given for.
    last: u64,
}

impl Authenticator {
    /// From an `otpauth://` URI.
    pub(crate) fn new(uri: &str) -> Authenticator {
        let (_, query) = uri.strip_prefix("otpauth://totp/").expect("an otpauth URI").split_once('?').expect("a query");
        let secret = query.split('&').find_map(|pair| pair.strip_prefix("secret=")).expect("a secret");
        Authenticator::with_secret(secret)
    }

    /// From the secret as it is typed by hand.
    pub(crate) fn with_secret(letters: &str) -> Authenticator {
        let letters: String = letters.chars().filter(|letter| !letter.is_whitespace()).collect();
        let secret = Secret::try_from_base32(letters).expect("base32");
        Authenticator { totp: Builder::new().with_secret(secret).build().expect("a secret long enough"), last: 0 }
    }

    /// A code that the server has not seen and accepts for some seconds more: of the previous step if that is unused and has
    /// time left, else of the step after the last used one. Waits for that step after many codes.
    pub(crate) fn code(&mut self) -> String {
        let seconds = || Clock::system().now().as_secs().unsigned_abs();
        let now = seconds();
        let earliest = if STEP_SECS - now % STEP_SECS < TYPING_SECS { now / STEP_SECS } else { now / STEP_SECS - 1 };
        self.last = (self.last + 1).max(earliest);
        let (_never, tick) = bounded::<()>(0);
        while self.last > seconds() / STEP_SECS + 1 {
            let _ = tick.recv_timeout(Duration::from_millis(100));
        }
        self.totp.generate(self.last * STEP_SECS).to_string()
    }

    /// A code that stays wrong for minutes.
    pub(crate) fn wrong_code(&self) -> String {
        let now = Clock::system().now().as_secs().unsigned_abs() / STEP_SECS;
        let right: Vec<String> =
            (now - 10..now + 10).map(|step| self.totp.generate(step * STEP_SECS).to_string()).collect();
        (0..).map(|number: u32| format!("{number:06}")).find(|code| !right.contains(code)).expect("one of a million")
    }

    /// The last code again.
    pub(crate) fn same_code(&self) -> String {
        self.totp.generate(self.last * STEP_SECS).to_string()
    }
}

/// Reads a QR code from a grid of modules, or a finer one.
pub(crate) fn read_qr(width: usize, height: usize, dark: impl Fn(usize, usize) -> bool) -> String {
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| if dark(x, y) { 0 } else { 255 });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "one QR code in the picture");
    grids[0].decode().expect("a QR code that can be read").1
}

/// Reads a QR code from a PNG.
pub(crate) fn read_png(path: &Path) -> String {
    let file = BufReader::new(File::open(path).expect("the picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    let (width, height) = (info.width as usize, info.height as usize);
    read_qr(width, height, |x, y| pixels[y * width + x] < 128)
}
