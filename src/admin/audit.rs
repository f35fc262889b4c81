//! `otpchatd audit`: reads the audit, filters its rows and verifies their chain. It only reads, with or without a running server.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::args::AuditArgs;
use super::error::ToolError;
use super::table::{Cell, Format, Table};
use super::transport::database_in;
use crate::base::clock::{Clock, Time};
use crate::config::Settings;
use crate::security::chain::Chain;
use crate::security::keys;
use crate::security::vault::{AadContext, InnerKey, Vault};
use crate::server::StartError;
use crate::store::audit::{self, Entry, Finding, HeadFile};
use crate::store::{FILE_NAME, StoreError, sealed};

pub(super) fn run(settings: &Settings, args: &AuditArgs) -> Result<(), ToolError> {
    database_in(&settings.data_dir)?;
    let path = settings.data_dir.join(FILE_NAME);
    let read = |error: rusqlite::Error| ToolError::Store(StoreError::Sqlite(error));
    // Read before the rows: it may be behind them, never ahead.
    let head = HeadFile::in_directory(&settings.data_dir).read();
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(read)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(read)?;
    let chain = match chain(settings, &connection)? {
        Some(chain) => chain,
        None => return Err(ToolError::NotUpgraded(settings.data_dir.display().to_string())),
    };
    let filter = Filter::new(args);
    let mut findings = Vec::new();
    let mut rows = 0;
    let mut shown: VecDeque<Entry> = VecDeque::new();
    let each = |entry: &Entry| {
        rows += 1;
        if !args.verify && filter.takes(entry) {
            shown.push_back(entry.clone());
            if args.last.is_some_and(|last| shown.len() > last) {
                shown.pop_front();
            }
        }
    };
    audit::walk(&connection, &chain, head, each, |finding| findings.push(finding)).map_err(read)?;
    if !args.verify {
        table(&shown).print(Format::from_json_flag(args.json))?;
    }
    let mut err = io::stderr();
    for finding in &findings {
        writeln!(err, "otpchatd: {}", sentence(finding))?;
    }
    if !findings.is_empty() {
        return Err(ToolError::Tampered(findings.len()));
    }
    let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    writeln!(err, "{rows}, and the chain is whole")?;
    Ok(())
}

/// Which rows are shown.
struct Filter<'a> {
    args: &'a AuditArgs,
    since: Option<Time>,
}

impl Filter<'_> {
    fn new(args: &AuditArgs) -> Filter<'_> {
        let since = args.hours.map(|hours| Clock::system().now() - Duration::from_secs(u64::from(hours) * 3_600));
        Filter { args, since }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let is = |want: &Option<String>, have: &str| want.as_ref().is_none_or(|want| want == have);
        is(&self.args.actor, &entry.event.actor)
            && is(&self.args.subject, &entry.event.subject)
            && self.args.action.as_ref().is_none_or(|want| entry.event.action.starts_with(want))
            && self.since.is_none_or(|since| entry.at >= since)
    }
}

/// The key of the chain; `None` if the database has none.
fn chain(settings: &Settings, connection: &Connection) -> Result<Option<Chain>, ToolError> {
    let read = |error: rusqlite::Error| ToolError::Store(StoreError::Sqlite(error));
    if !connection.table_exists(None, "inner_keys").map_err(read)? {
        return Ok(None);
    }
    let Some(sealed) = sealed::inner_key(connection, InnerKey::Audit).map_err(read)? else { return Ok(None) };
    let key = keys::load(&settings.sealing_key, settings.guard_of(&settings.sealing_key))?;
    let open = || Vault::new(&key)?.open(AadContext::InnerKey(InnerKey::Audit), &sealed);
    Ok(Some(Chain::new(&open().map_err(StartError::from)?)))
}

fn table(entries: &VecDeque<Entry>) -> Table {
    let mut table = Table::new(&["row", "at", "actor", "action", "subject", "address", "detail"]);
    for entry in entries {
        let event = &entry.event;
        table.row(vec![
            Cell::Number(entry.id),
            Cell::Time(entry.at),
            Cell::text(&event.actor),
            Cell::text(&event.action),
            Cell::text(&event.subject),
            Cell::text(&event.address),
            Cell::text(&event.detail),
        ]);
    }
    table
}

fn sentence(finding: &Finding) -> String {
    match finding {
        Finding::Changed { id } => format!("row {id} was changed, or does not belong where it is"),
        Finding::Missing { from, to } if from == to => format!("row {from} is missing"),
        Finding::Missing { from, to } => format!("rows {from} to {to} are missing"),
        Finding::HeadDiffers { id } => format!("row {id} is not the one that was kept beside the database"),
        Finding::HeadMissing => {
            format!("{} is missing or cannot be read: rows may have been cut off at the end", audit::HEAD_FILE_NAME)
        }
    }
}
