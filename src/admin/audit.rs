//! `otpchatd audit`: reads the audit, filters its rows and verifies their chain. It only reads, with or without a running server.

use std::collections::VecDeque;
use std::time::Duration;

use super::args::AuditArgs;
use super::error::ToolError;
use super::table::{Cell, Format, Table};
use super::transport::database_in;
use crate::base::clock::{Clock, Time};
use crate::base::terminal::Output;
use crate::config::Settings;
use crate::security::chain::Chain;
use crate::security::keys;
use crate::security::vault::{AadContext, InnerKey, Vault};
use crate::server::StartError;
use crate::store::audit::{self, AuditRow, Finding, HeadFile};
use crate::store::{Reader, sealed};

pub(super) fn run(settings: &Settings, args: &AuditArgs) -> Result<(), ToolError> {
    database_in(&settings.data_dir)?;
    // Read before the rows: it may be behind them, never ahead.
    let head = HeadFile::in_directory(&settings.data_dir).read();
    let reader = Reader::open(&settings.data_dir).map_err(ToolError::Store)?;
    let chain = match chain(settings, &reader)? {
        Some(chain) => chain,
        None => return Err(ToolError::NotUpgraded(settings.data_dir.display().to_string())),
    };
    let filter = Filter::new(args);
    let mut findings = Vec::new();
    let mut rows = 0;
    let mut shown: VecDeque<AuditRow> = VecDeque::new();
    let each = |row: &AuditRow| {
        rows += 1;
        if !args.verify && filter.takes(row) {
            shown.push_back(row.clone());
            if args.last.is_some_and(|last| shown.len() > last) {
                shown.pop_front();
            }
        }
    };
    let walk = reader.read(|tx| audit::walk(tx, &chain, head, each, |finding| findings.push(finding)));
    walk.map_err(ToolError::Store)?;
    if !args.verify {
        table(&shown).print(Format::from_json_flag(args.json))?;
    }
    let err = Output::stderr();
    for finding in &findings {
        err.print_line(&format!("otpchatd: {}", sentence(finding)))?;
    }
    if !findings.is_empty() {
        return Err(ToolError::Tampered(findings.len()));
    }
    let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    err.print_line(&format!("{rows}, and the chain is whole"))?;
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

    fn takes(&self, row: &AuditRow) -> bool {
        let is = |want: &Option<String>, have: &str| want.as_ref().is_none_or(|want| want == have);
        is(&self.args.actor, &row.act.actor)
            && is(&self.args.subject, &row.act.subject)
            && self.args.action.as_ref().is_none_or(|want| row.act.action.starts_with(want))
            && self.since.is_none_or(|since| row.at >= since)
    }
}

/// The key of the chain; `None` if the database has none.
fn chain(settings: &Settings, reader: &Reader) -> Result<Option<Chain>, ToolError> {
    if !reader.has_inner_keys().map_err(ToolError::Store)? {
        return Ok(None);
    }
    let sealed = reader.read(|tx| sealed::inner_key(tx, InnerKey::Audit)).map_err(ToolError::Store)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let key = keys::load(&settings.sealing_key, settings.guard_of(&settings.sealing_key))?;
    let open = || Vault::new(&key)?.open(AadContext::InnerKey(InnerKey::Audit), &sealed);
    Ok(Some(Chain::new(&open().map_err(StartError::from)?)))
}

fn table(rows: &VecDeque<AuditRow>) -> Table {
    let mut table = Table::new(&["row", "at", "actor", "action", "subject", "address", "detail"]);
    for row in rows {
        let act = &row.act;
        table.row(vec![
            Cell::Number(row.id),
            Cell::Time(row.at),
            Cell::text(&act.actor),
            Cell::text(&act.action),
            Cell::text(&act.subject),
            Cell::text(&act.address),
            Cell::text(&act.detail),
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
