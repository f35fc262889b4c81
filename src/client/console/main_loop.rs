//! The console's main thread: starts the other threads, handles line after line, and stops everything.

use std::io;
use std::sync::{Arc, Mutex};

use crossbeam_channel::bounded;

use crate::base::clock::Clock;
use crate::base::lang::Lang;
use crate::base::terminal::{self, Output};
use crate::client::console::account_session::AccountSession;
use crate::client::console::command::{ConsoleCommand, ParsedLine, parse};
use crate::client::console::context::{ConsoleContext, ConsoleSettings};
use crate::client::console::dialogues::{about, account, history, login, recovery, sending, sessions};
use crate::client::console::room::composer::Composer;
use crate::client::console::room::current_session::CurrentSession;
use crate::client::console::room::outbox::{Outbox, OutboxPlan};
use crate::client::console::room::printer::RoomPrinter;
use crate::client::console::room::render;
use crate::client::console::room::timeline::Timeline;
use crate::client::console::room::view::RoomView;
use crate::client::console::terminal::bounded_reader::MAX_LINE_BYTES;
use crate::client::console::terminal::editor_gate::EditorGate;
use crate::client::console::terminal::front::{AfterLine, Front};
use crate::client::console::terminal::input::{Input, InputOutcome};
use crate::client::console::terminal::paint::Paint;
use crate::client::console::terminal::screen::Screen;
use crate::client::console::text::{chat, outbox, room, sessions as sessions_text};
use crate::client::endpoint::Endpoint;
use crate::client::link::Link;
use crate::client::read_cursor::StreamState;
use crate::client::server_clock::ServerClock;
use crate::client::tls::Tls;

/// The prompt of the chat itself.
const PROMPT: &str = "> ";
/// How many events wait for the printer. When the channel is full, readers wait, and then so does the server.
const EVENTS: usize = 1024;

/// Starts the console. `last` says how many messages a login shows, on a terminal (`true`) and without one.
///
/// # Errors
/// The system refuses a thread.
pub fn start(
    endpoint: &Endpoint,
    tls: Option<Tls>,
    lang: Lang,
    settings: ConsoleSettings,
    last: impl FnOnce(bool) -> u32,
) -> io::Result<ConsoleContext> {
    let (input, screen) = open_terminal();
    let screen = Arc::new(screen);
    let current = Arc::new(CurrentSession::default());
    let clock = Arc::new(ServerClock::new(Clock::system()));
    let link = Arc::new(Link::new(endpoint, tls, clock.clone()));
    let (events, receiver) = bounded(EVENTS);
    let (wake, woken) = bounded(1);
    let stream_state = Arc::new(StreamState::new(wake.clone()));
    let plan = OutboxPlan {
        link: link.clone(),
        current: current.clone(),
        clock: clock.clone(),
        stream_state: stream_state.clone(),
        events: events.clone(),
        woken,
    };
    let outbox = Outbox::start(plan, wake)?;
    let printer = RoomPrinter {
        screen: screen.clone(),
        current: current.clone(),
        timeline: Arc::new(Mutex::new(Timeline::new(render::date(Some(clock.ours()))))),
        clock: clock.clone(),
        lang,
        events: receiver,
    };
    let room = RoomView::start(printer, events, stream_state, last(screen.is_terminal()))?;
    Ok(ConsoleContext {
        settings,
        front: Front::new(lang, input, screen),
        account: AccountSession::new(link, current, clock),
        room,
        composer: Composer::new(outbox),
    })
}

fn open_terminal() -> (Input, Screen) {
    let gate = Arc::new(EditorGate::default());
    match Input::editor(&gate) {
        Some((input, printer)) => (input, Screen::beside_editor(gate, printer, Paint::from_environment(true))),
        None => {
            let paint = Paint::from_environment(terminal::stdout_is_terminal() && terminal::stderr_is_terminal());
            (Input::plain(), Screen::plain(Output::stdout(), Output::stderr(), paint))
        }
    }
}

/// Handles line after line to the end, and stops all threads. Returns whether everything succeeded.
///
/// # Errors
/// The terminal or pipe failed.
pub fn run(mut cx: ConsoleContext) -> io::Result<bool> {
    let ended = handle_lines(&mut cx);
    let ConsoleContext { front, account, mut room, composer, .. } = cx;
    // Reading and sending stop first, then editing. Then the printer shows what has come, and the connection ends last.
    room.stop_reading();
    drop(composer);
    let succeeded = !front.has_failed();
    drop(front);
    drop(room);
    drop(account);
    ended.map(|()| succeeded)
}

fn handle_lines(cx: &mut ConsoleContext) -> io::Result<()> {
    if cx.settings.exposed {
        cx.front.warn(chat::EXPOSED_ANYWAY, &[])?;
    }
    if cx.front.is_interactive() {
        cx.front.notice(chat::WELCOME, &[&cx.account.server()])?;
    }
    loop {
        let draft = cx.composer.next_draft(cx.session().is_some());
        let next = match cx.front.read_line(PROMPT, &draft)? {
            InputOutcome::Given(line) => handle_line(cx, &line)?,
            InputOutcome::Cancelled => AfterLine::ReadNext,
            InputOutcome::End => AfterLine::Quit,
            InputOutcome::TooLong => cx.front.complain(chat::LINE_TOO_LONG, &[&MAX_LINE_BYTES.to_string()])?,
            InputOutcome::NotText => {
                let broken = cx.front.take_broken_line();
                cx.composer.keep(&broken);
                cx.front.complain(chat::NOT_TEXT, &[])?
            }
        };
        if next == AfterLine::Quit && may_quit(cx)? {
            return Ok(());
        }
        cx.composer.set_warned(next == AfterLine::Quit);
    }
}

/// Warns a person once of lines that would stay unsent.
fn may_quit(cx: &ConsoleContext) -> io::Result<bool> {
    match cx.composer.unsent_to_warn_of() {
        Some(unsent) if cx.front.is_interactive() => {
            cx.front.warn(outbox::UNSENT_AT_QUIT, &[&outbox::lines(unsent, cx.lang())])?;
            Ok(false)
        }
        _ => Ok(true),
    }
}

fn handle_line(cx: &mut ConsoleContext, line: &str) -> io::Result<AfterLine> {
    let parsed = parse(line);
    if parsed != ParsedLine::Blank {
        cx.front.remember(line);
    }
    match parsed {
        ParsedLine::Blank => Ok(AfterLine::ReadNext),
        ParsedLine::Text(text) => sending::send(cx, PROMPT, line, &text),
        ParsedLine::Command(command) => handle_command(cx, command),
        ParsedLine::Unknown => cx.front.misunderstood(chat::UNKNOWN_COMMAND, &[]),
        ParsedLine::UnexpectedArgument(command) => cx.front.misunderstood(chat::NO_ARGUMENTS, &[command]),
        ParsedLine::BadLogoutTarget => cx.front.misunderstood(sessions_text::WHICH_SESSION, &[]),
        ParsedLine::BadHistoryCount => cx.front.misunderstood(room::HOW_MANY, &[]),
        ParsedLine::BadFoldNumber => cx.front.misunderstood(room::WHICH_FOLDED, &[]),
    }
}

fn handle_command(cx: &mut ConsoleContext, command: ConsoleCommand) -> io::Result<AfterLine> {
    match command {
        ConsoleCommand::Register => login::register(cx),
        ConsoleCommand::Login => login::log_in(cx),
        ConsoleCommand::Logout(target) => sessions::end_sessions(cx, target),
        ConsoleCommand::History(count) => history::show_history(cx, count),
        ConsoleCommand::More(number) => history::show_folded(cx, number),
        ConsoleCommand::Sessions => sessions::list_sessions(cx),
        ConsoleCommand::Passwd => account::change_password(cx),
        ConsoleCommand::Otp => account::replace_factor(cx),
        ConsoleCommand::Recovery => recovery::new_recovery_codes(cx),
        ConsoleCommand::DeleteAccount => account::delete_account(cx),
        ConsoleCommand::Whoami => about::whoami(cx),
        ConsoleCommand::Help => about::show_help(cx),
        ConsoleCommand::Quit => Ok(AfterLine::Quit),
    }
}
