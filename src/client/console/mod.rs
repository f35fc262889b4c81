//! The console: asks, shows, sends.
//!
//! Two threads share the screen. The main thread owns the line editor: it reads a line, does what it says, with calls
//! that block, and reads the next. The thread `room` shows what others say, above the line that is being typed; [`gate`]
//! keeps the two apart, and [`place`] knows what stands there. A third one, `stream`, reads the common room (see
//! [`crate::client::stream`]) and reconnects; a fourth, `outbox`, sends what is said, and again what was not answered
//! ([`outbox`]).
//!
//! The dialogues: `dialogue` opens and ends a session, `enrolment` sets up a second factor, `recovery` shows and takes
//! recovery codes, `sessions` lists and ends them, `account` changes password and factor, and deletes. All of them ask through
//! `asking`. `history` shows older messages.

pub mod args;
pub mod command;
pub mod dialogues;
pub mod room;
mod table;
pub mod terminal;
pub mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Sender, bounded};

use crate::base::clock::Clock;
use crate::base::duration_words;
use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::base::threads::Thread;
use crate::client::console::args::Args;
use crate::client::console::command::{Command, Line, MAX_LINE_BYTES, parse};
use crate::client::console::room::outbox::{MAX_UNSENT, Means, Outbox, Outcome, WITHOUT_A_PERSON};
use crate::client::console::room::render::Paint;
use crate::client::console::room::timeline::Place;
use crate::client::console::room::{News, Presence, Room, render};
use crate::client::console::terminal::editor_gate::Gate;
use crate::client::console::terminal::input::{Asked, Input};
use crate::client::console::terminal::screen::Screen;
use crate::client::endpoint::{Endpoint, EndpointError};
use crate::client::error::{CallError, ServerRefusal};
use crate::client::link::{Link, silence_core};
use crate::client::read_cursor::{ReadCursor, StreamState};
use crate::client::server_clock::ServerClock;
use crate::client::session::ClientSession;
use crate::client::stream::StreamReader;
use crate::client::tls::Tls;
use crate::client::types::ListedSession;

/// The prompt of the chat itself.
const PROMPT: &str = "> ";
/// How many events wait to be shown; after that the server waits.
const NEWS: usize = 1024;
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
    reader: Option<StreamReader>,
    outbox: Outbox,
    live: Arc<StreamState>,
    cursor: ReadCursor,
    place: Arc<Mutex<Place>>,
    news: Sender<News>,
    room: Thread,
    /// The sessions as they were last listed: what the numbers of `/logout` mean.
    listed: Vec<ListedSession>,
    /// Whether it was said that the server's clock and ours are too far apart.
    told_apart: bool,
    /// A line that was refused, to be edited and sent again.
    draft: String,
    /// Whether it was just said that leaving leaves lines unsent.
    told_unsent: bool,
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
        let exposed = tls.is_none() && !endpoint.is_loopback();
        let link = Arc::new(Link::new(endpoint, tls, clock.clone()));
        let place = Arc::new(Mutex::new(Place::new(render::date(Some(clock.ours())))));
        let (news, receiver) = bounded(NEWS);
        let (wake, woken) = bounded(1);
        let live = Arc::new(StreamState::new(wake.clone()));
        let means = Means {
            link: link.clone(),
            presence: presence.clone(),
            clock: clock.clone(),
            live: live.clone(),
            news: news.clone(),
            woken,
        };
        let room = Room {
            screen: screen.clone(),
            presence: presence.clone(),
            place: place.clone(),
            clock: clock.clone(),
            lang,
            news: receiver,
        };
        Ok(Console {
            lang,
            args: args.clone(),
            exposed,
            input,
            screen,
            gate,
            link,
            presence,
            clock,
            reader: None,
            outbox: Outbox::start(means, wake)?,
            live,
            cursor: ReadCursor::default(),
            place,
            news,
            room: Thread::spawn("room", move || room.run())?,
            listed: Vec::new(),
            told_apart: false,
            draft: String::new(),
            told_unsent: false,
            failed: false,
        })
    }

    /// Reads and does line after line; answers whether all went well.
    fn run(mut self) -> io::Result<bool> {
        let ended = self.lines();
        let Console { input, gate, link, reader, outbox, news, room, failed, .. } = self;
        // First nobody reads or sends any more, then nobody edits any more, then what has come is shown, then the rest goes.
        drop(reader);
        drop(outbox);
        gate.remove();
        drop(input);
        drop(news);
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
            let draft = self.next_draft();
            let next = match self.input.line(PROMPT, &draft)? {
                Asked::Given(line) => self.line(&line)?,
                Asked::Cancelled => Next::Line,
                Asked::End => Next::Quit,
                Asked::TooLong => {
                    self.complain(&text::LINE_TOO_LONG.with(self.lang, &[&MAX_LINE_BYTES.to_string()]))?
                }
                Asked::NotText => self.complain(text::NOT_TEXT.say(self.lang))?,
            };
            if next == Next::Quit && self.may_quit()? {
                return Ok(());
            }
            self.told_unsent = next == Next::Quit;
        }
    }

    /// What the next line begins with. A draft waits until there is a session to send it with, so that /login can be typed
    /// meanwhile.
    fn next_draft(&mut self) -> String {
        if self.presence.session().is_none() {
            return String::new();
        }
        if self.draft.is_empty() {
            return self.outbox.returned().unwrap_or_default();
        }
        std::mem::take(&mut self.draft)
    }

    /// A person is told, once, of lines that would stay unsent.
    fn may_quit(&mut self) -> io::Result<bool> {
        let unsent = self.outbox.unsent();
        if unsent == 0 || self.told_unsent || !self.input.is_interactive() {
            return Ok(true);
        }
        self.screen.error(&text::UNSENT_AT_QUIT.with(self.lang, &[&self.lines_said(unsent)]))?;
        Ok(false)
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
            Line::HowMany => self.misunderstood(text::HOW_MANY.say(self.lang)),
        }
    }

    fn command(&mut self, command: Command) -> io::Result<Next> {
        match command {
            Command::Register => self.register(),
            Command::Login => self.log_in(),
            Command::Logout(which) => self.end_sessions(which),
            Command::History(count) => self.show_history(count),
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

    /// Sends `said`; `line` is what was typed, and is given back if it is refused.
    fn say(&mut self, line: &str, said: &str) -> io::Result<Next> {
        let Some(session) = self.presence.session() else {
            self.draft = line.to_owned();
            return self.complain(text::LOG_IN_FIRST.say(self.lang));
        };
        match self.outbox.send(&session.login, said, line, !self.input.is_interactive())? {
            Outcome::Sent => {
                // It is shown when it comes back by the stream, in its place among the others; not twice.
                if self.live.is_live() {
                    self.screen.take_back(PROMPT, line)?;
                }
                Ok(Next::Line)
            }
            Outcome::Waits { why, lines } if self.input.is_interactive() => self.waits(why.as_ref(), lines),
            Outcome::Waits { why, .. } => self.given_up(why.as_ref(), said),
            Outcome::Refused(error) => {
                self.draft = line.to_owned();
                self.not_sent(&error)
            }
            Outcome::Full => {
                self.draft = line.to_owned();
                self.complain(&text::TOO_MANY_UNSENT.with(self.lang, &[&self.lines_said(MAX_UNSENT)]))
            }
        }
    }

    /// The line waits to be sent, with `lines` in all.
    fn waits(&self, why: Option<&CallError>, lines: usize) -> io::Result<Next> {
        if let Some(error @ CallError::Tls(_)) = why {
            // Somebody has to do something about it.
            let why = self.failure(error);
            return self.screen.error(&text::WAITS_FOR_YOU.with(self.lang, &[&why])).map(|()| Next::Line);
        }
        let words = if lines > 1 {
            text::WAIT.with(self.lang, &[&self.lines_said(lines)])
        } else {
            text::WAITS.with(self.lang, &[&self.why_unsent(why)])
        };
        self.screen.notice(&words).map(|()| Next::Line)
    }

    /// Without a person a line that could not be sent is the end: what follows may refer to it.
    fn given_up(&mut self, why: Option<&CallError>, said: &str) -> io::Result<Next> {
        let limit = duration_words::in_words(WITHOUT_A_PERSON, self.lang);
        let why = self.why_unsent(why);
        self.complain(&text::GIVEN_UP.with(self.lang, &[&limit, &why, &one_line(said)]))?;
        Ok(Next::Quit)
    }

    fn why_unsent(&self, why: Option<&CallError>) -> String {
        why.map_or_else(|| text::NO_ANSWER_YET.say(self.lang).to_owned(), |error| text::loss(error, self.lang))
    }

    fn lines_said(&self, lines: usize) -> String {
        text::LINES.count(lines as u64, self.lang)
    }

    fn not_sent(&mut self, error: &CallError) -> io::Result<Next> {
        let why = match error {
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
                    let end = render::date_and_time(self.clock.local(end));
                    text::WHOAMI.with(self.lang, &[&session.login, &server, &end, &hours, &minutes])
                }
            },
        };
        self.screen.notice(&words).map(|()| Next::Line)
    }

    fn help(&mut self) -> io::Result<Next> {
        let window = self.screen.window().map(|window| window.columns);
        let lines: Vec<String> =
            text::HELP.say(self.lang).lines().map(|line| render::help_line(line, window)).collect();
        self.screen.raw(&lines.join("\n")).map(|()| Next::Line)
    }

    /// There is no session any more, here.
    fn forget_session(&mut self) -> Option<ClientSession> {
        let session = self.presence.leave();
        self.reader = None;
        self.listed.clear();
        session
    }

    /// The server says that the session is of no more use.
    fn session_over(&mut self, why: &ServerRefusal) -> io::Result<Next> {
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
