//! The console: asks, shows, sends.
//!
//! Two threads share the screen. The main thread owns the line editor: it reads a line, does what it says, with calls
//! that block, and reads the next. The thread `room` shows what others say, above the line that is being typed; [`gate`]
//! keeps the two apart. A third one, `stream`, reads the common room (see [`crate::client::stream`]) and reconnects.
//!
//! The dialogues: `dialogue` opens and ends a session, `enrolment` sets up a second factor, `recovery` shows and takes
//! recovery codes, `sessions` lists and ends them, `account` changes password and factor, and deletes. All of them ask through
//! `asking`.

mod account;
pub mod args;
mod asking;
pub mod command;
mod dialogue;
mod enrolment;
pub mod gate;
pub mod input;
pub mod lines;
mod recovery;
pub mod room;
pub mod screen;
mod sessions;
pub mod shown;
mod table;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use crate::client::answer::Listed;
use crate::client::console::args::Args;
use crate::client::console::command::{Command, Line, MAX_LINE_BYTES, parse};
use crate::client::console::gate::Gate;
use crate::client::console::input::{Asked, Input};
use crate::client::console::room::{Presence, Room};
use crate::client::console::screen::Screen;
use crate::client::console::shown::Paint;
use crate::client::endpoint::{Endpoint, EndpointError};
use crate::client::error::{CallError, Refusal};
use crate::client::link::{Link, silence_core};
use crate::client::session::{ServerClock, Session};
use crate::client::stream::{Event, Reader};
use crate::client::text;
use crate::client::tls::Tls;
use crate::clock::Clock;
use crate::lang::Lang;
use crate::threads::Thread;

/// The prompt of the chat itself.
const PROMPT: &str = "> ";
/// How many events wait to be shown; after that the server waits.
const EVENTS: usize = 1024;
/// The flag that lets a password cross the network, as people have to write it.
const EXPOSE_FLAG: &str = "--plaintext-password-exposed-to-network";

/// Runs the console to its end.
///
/// Exit code 0: left by `/quit` or the end of the input, and all went well. 1: there is no such server, the terminal went,
/// or, without a person to put it right, a login failed or anything was refused.
pub fn run(args: &Args) -> ExitCode {
    let lang = args.language();
    let wish = args.tls();
    let endpoint = match Endpoint::resolve(&args.server, wish.is_some() || args.plaintext_password_exposed_to_network) {
        Ok(endpoint) => endpoint,
        Err(error) => return cannot_start(&unusable(&error, lang)),
    };
    let tls = match wish.map(|wish| Tls::set_up(&wish, &endpoint)).transpose() {
        Ok(tls) => tls,
        Err(error) => return cannot_start(&text::no_tls(&error, &endpoint.name().to_string(), lang)),
    };
    silence_core();
    match Console::start(args, &endpoint, tls, lang).and_then(Console::run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read our output has left: nobody is there to be told.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => cannot_start(&error.to_string()),
    }
}

fn cannot_start(why: &str) -> ExitCode {
    // If stderr has gone too, the exit code has to do.
    let _ = writeln!(io::stderr(), "otpchat: {why}");
    ExitCode::FAILURE
}

fn unusable(error: &EndpointError, lang: Lang) -> String {
    match error {
        EndpointError::Unknown { name, cause } => {
            text::UNKNOWN_SERVER.with(lang, &[&name.to_string(), &cause.to_string()])
        }
        EndpointError::Exposed { name, address } => {
            text::EXPOSED.with(lang, &[&name.to_string(), &address.to_string(), EXPOSE_FLAG])
        }
    }
}

/// Whether the console goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// With the next line.
    Line,
    /// It ends.
    Quit,
}

/// The console's main thread and what it owns. The fields are dropped in this order: the editor before the thread that
/// prints through it is joined.
struct Console {
    lang: Lang,
    args: Args,
    exposed: bool,
    input: Input,
    screen: Arc<Screen>,
    gate: Arc<Gate>,
    link: Arc<Link>,
    presence: Arc<Presence>,
    clock: Arc<ServerClock>,
    reader: Option<Reader>,
    events: Sender<(u64, Event)>,
    room: Thread,
    /// The sessions as they were last listed: what the numbers of `/logout` mean.
    listed: Vec<Listed>,
    /// Whether it was said that the server's clock and ours are too far apart.
    told_apart: bool,
    /// A line that could not be sent, to be edited and sent again.
    draft: String,
    /// Whether anything went wrong that nobody put right.
    failed: bool,
}

impl Console {
    fn start(args: &Args, endpoint: &Endpoint, tls: Option<Tls>, lang: Lang) -> io::Result<Console> {
        let gate = Arc::new(Gate::default());
        let (input, screen) = match Input::editor(&gate) {
            Some((input, printer)) => (input, Screen::beside_editor(gate.clone(), printer, paint(true))),
            None => {
                let paint = paint(io::stdout().is_terminal() && io::stderr().is_terminal());
                (Input::plain(), Screen::plain(Box::new(io::stdout()), Box::new(io::stderr()), paint))
            }
        };
        let screen = Arc::new(screen);
        let presence = Arc::new(Presence::default());
        let clock = Arc::new(ServerClock::new(Clock::system()));
        let (events, receiver) = bounded(EVENTS);
        let room =
            Room { screen: screen.clone(), presence: presence.clone(), clock: clock.clone(), lang, events: receiver };
        Ok(Console {
            lang,
            args: args.clone(),
            exposed: tls.is_none() && !endpoint.is_loopback(),
            input,
            screen,
            gate,
            link: Arc::new(Link::new(endpoint, tls, clock.clone())),
            presence,
            clock,
            reader: None,
            events,
            room: Thread::spawn("room", move || room.run())?,
            listed: Vec::new(),
            told_apart: false,
            draft: String::new(),
            failed: false,
        })
    }

    /// Reads and does line after line; answers whether all went well.
    fn run(mut self) -> io::Result<bool> {
        let ended = self.lines();
        let Console { input, gate, link, reader, events, room, failed, .. } = self;
        // First nobody reads any more, then nobody edits any more, then what has come is shown, then the rest goes.
        drop(reader);
        gate.remove();
        drop(input);
        drop(events);
        drop(room);
        drop(link);
        ended.map(|()| !failed)
    }

    fn lines(&mut self) -> io::Result<()> {
        if self.exposed {
            self.screen.error(text::EXPOSED_ANYWAY.say(self.lang))?;
        }
        if self.input.is_interactive() {
            self.screen.notice(&text::WELCOME.with(self.lang, &[&self.server()]))?;
        }
        loop {
            // A draft waits until there is a session to send it with, so that /login can be typed meanwhile.
            let draft = if self.presence.session().is_some() { std::mem::take(&mut self.draft) } else { String::new() };
            let next = match self.input.line(PROMPT, &draft)? {
                Asked::Given(line) => self.line(&line)?,
                Asked::Cancelled => Next::Line,
                Asked::End => Next::Quit,
                Asked::TooLong => {
                    self.complain(&text::LINE_TOO_LONG.with(self.lang, &[&MAX_LINE_BYTES.to_string()]))?
                }
                Asked::NotText => self.complain(text::NOT_TEXT.say(self.lang))?,
            };
            if next == Next::Quit {
                return Ok(());
            }
        }
    }

    fn line(&mut self, line: &str) -> io::Result<Next> {
        let meaning = parse(line);
        if meaning != Line::Blank {
            self.input.remember(line);
        }
        match meaning {
            Line::Blank => Ok(Next::Line),
            Line::Text(said) => self.say(line, &said),
            Line::Command(command) => self.command(command),
            Line::Unknown => self.misunderstood(text::UNKNOWN_COMMAND.say(self.lang)),
            Line::TooMuch(command) => self.misunderstood(&text::NO_ARGUMENTS.with(self.lang, &[command])),
            Line::WhichSession => self.misunderstood(text::WHICH_SESSION.say(self.lang)),
        }
    }

    fn command(&mut self, command: Command) -> io::Result<Next> {
        match command {
            Command::Register => self.register(),
            Command::Login => self.log_in(),
            Command::Logout(which) => self.end_sessions(which),
            Command::Sessions => self.list_sessions(),
            Command::Passwd => self.change_password(),
            Command::Otp => self.replace_factor(),
            Command::Recovery => self.new_recovery_codes(),
            Command::DeleteAccount => self.delete_account(),
            Command::Whoami => self.whoami(),
            Command::Help => self.help(),
            Command::Quit => Ok(Next::Quit),
        }
    }

    /// Sends `said`; `line` is what was typed, and is given back if it could not be sent.
    fn say(&mut self, line: &str, said: &str) -> io::Result<Next> {
        let Some(session) = self.presence.session() else {
            self.draft = line.to_owned();
            return self.complain(text::LOG_IN_FIRST.say(self.lang));
        };
        match self.link.send(&session.token, said) {
            Ok(stored) => {
                if let Some(time) = stored.server_time {
                    self.clock.heard(time);
                }
                // It is shown when it comes back by the stream, in its place among the others; not twice.
                if self.presence.is_reading() {
                    self.screen.take_back(PROMPT, line)?;
                }
                Ok(Next::Line)
            }
            Err(error) => {
                self.draft = line.to_owned();
                self.not_sent(&error)
            }
        }
    }

    fn not_sent(&mut self, error: &CallError) -> io::Result<Next> {
        let why = match error {
            CallError::NoAnswer => return self.complain(text::SENT_PERHAPS.say(self.lang)),
            CallError::Refused(refusal) if refusal.ends_session => {
                self.forget_session();
                text::SESSION_OVER.with(self.lang, &[&text::refusal(refusal, self.lang)])
            }
            error => self.failure(error),
        };
        self.complain(&text::SENT_NOT.with(self.lang, &[&why]))
    }

    fn whoami(&mut self) -> io::Result<Next> {
        let server = self.server();
        let words = match self.presence.session() {
            None => text::WHOAMI_NOBODY.with(self.lang, &[&server]),
            Some(session) => match session.expires_at {
                None => text::WHOAMI_OPEN.with(self.lang, &[&session.login, &server]),
                Some(end) => {
                    let minutes = self.clock.until(end).as_secs() / 60;
                    let (hours, minutes) = ((minutes / 60).to_string(), (minutes % 60).to_string());
                    let end = shown::date_and_time(self.clock.local(end));
                    text::WHOAMI.with(self.lang, &[&session.login, &server, &end, &hours, &minutes])
                }
            },
        };
        self.screen.notice(&words).map(|()| Next::Line)
    }

    fn help(&mut self) -> io::Result<Next> {
        let window = self.screen.window().map(|window| window.columns);
        let lines: Vec<String> = text::HELP.say(self.lang).lines().map(|line| shown::help_line(line, window)).collect();
        self.screen.raw(&lines.join("\n")).map(|()| Next::Line)
    }

    /// There is no session any more, here.
    fn forget_session(&mut self) -> Option<Session> {
        let session = self.presence.leave();
        self.reader = None;
        self.listed.clear();
        session
    }

    /// The server says that the session is of no more use.
    fn session_over(&mut self, why: &Refusal) -> io::Result<Next> {
        self.forget_session();
        let why = text::refusal(why, self.lang);
        self.complain(&text::SESSION_OVER.with(self.lang, &[&why]))
    }

    /// No command, or not like this. Without a person it ends here: what follows in the pipe may be the answers that the
    /// command should have taken, passwords among them, and is not to be said to everybody.
    fn misunderstood(&mut self, what: &str) -> io::Result<Next> {
        self.complain(what)?;
        Ok(if self.input.is_interactive() { Next::Line } else { Next::Quit })
    }

    /// Says what went wrong. Without a person to put it right, it shows in the exit code.
    fn complain(&mut self, what: &str) -> io::Result<Next> {
        self.failed |= !self.input.is_interactive();
        self.screen.error(what).map(|()| Next::Line)
    }

    fn failure(&self, error: &CallError) -> String {
        text::failure(error, &self.server(), self.lang)
    }

    fn server(&self) -> String {
        self.link.server().to_string()
    }
}

/// Colours, where there is a terminal and `NO_COLOR` is not set (no-color.org: set to anything but nothing).
fn paint(terminal: bool) -> Paint {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if terminal && !unwanted { Paint::Ansi } else { Paint::None }
}
