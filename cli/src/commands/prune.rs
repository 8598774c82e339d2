//! `kiln prune`

use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::session::Session;
use crate::text::{quantity, table::table};
use kiln_engine::api::{PruneReport, PruneRequest};
use std::fmt::Write as _;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Remove everything that no named image needs, even what the next build would use
    #[arg(long, short)]
    all: bool,
    /// Remove only what was not used for so long (`24h`, `7d`)
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Stop when the store is no larger than this (`10GB`)
    #[arg(long, value_name = "SIZE")]
    keep_storage: Option<String>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Collects, and prints what went and why the rest stayed.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let dry_run = self.dry_run;
        let report = session.engine.prune(&self.request(session)?)?;
        session.print(&drawn(&report, dry_run))?;
        Ok(Exit::Success)
    }

    fn request(self, session: &Session<'_>) -> Result<PruneRequest, UsageError> {
        let wrong = |flag, text: &str, error: quantity::QuantityError| UsageError::value(flag, text, error.to_string());
        let older_than = self
            .older_than
            .map(|text| quantity::parse_duration(&text).map_err(|error| wrong("--older-than", &text, error)));
        let keep_storage = self
            .keep_storage
            .map(|text| quantity::parse_decimal_size(&text).map_err(|error| wrong("--keep-storage", &text, error)));
        Ok(PruneRequest {
            all: self.all,
            older_than: older_than.transpose()?,
            keep_storage: keep_storage.transpose()?,
            dry_run: self.dry_run,
            store: session.store()?,
        })
    }
}

fn drawn(report: &PruneReport, dry_run: bool) -> String {
    let mut out = String::new();
    if !report.removed.is_empty() {
        let row = |it: &kiln_engine::api::Pruned| {
            [it.kind.clone(), super::images::short(&it.name, false), quantity::size(it.size), it.what.clone()]
        };
        let header = ["REMOVED", "NAME", "SIZE", "OF"];
        out.push_str(&table(header, &report.removed.iter().map(row).collect::<Vec<_>>()));
        out.push('\n');
    }
    if !report.kept.is_empty() {
        let row = |it: &kiln_engine::api::Kept| [it.count.to_string(), quantity::size(it.size), it.reason.clone()];
        out.push_str(&table(["KEPT", "SIZE", "BECAUSE"], &report.kept.iter().map(row).collect::<Vec<_>>()));
        out.push('\n');
    }
    let freed = if dry_run { "would free" } else { "freed" };
    let (size, rest) = (quantity::size(report.freed), quantity::size(report.remaining));
    let _infallible = writeln!(out, "{freed} {size}, {rest} in the store");
    out
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fake, kiln, output};

    #[test]
    fn a_prune_says_what_went_and_why_the_rest_stayed() {
        insta::assert_snapshot!(kiln(["prune", "--older-than", "7d"]));
    }

    #[test]
    fn a_dry_run_says_so() {
        assert!(kiln(["prune", "--dry-run"]).contains("would free 13.6MB"));
    }

    #[test]
    fn limits_reach_the_engine_as_seconds_and_bytes() {
        let fake = Fake::default();
        output(&fake, ["prune", "--all", "--older-than", "1h30m", "--keep-storage", "10GB"]);
        let request = fake.pruned.borrow().clone().unwrap();
        assert_eq!(request.older_than.unwrap().as_secs(), 5400);
        assert_eq!(request.keep_storage, Some(10_000_000_000));
        assert!(request.all && !request.dry_run);
    }

    #[test]
    fn a_limit_without_a_unit_is_refused() {
        insta::assert_snapshot!(kiln(["prune", "--older-than", "7"]));
    }
}
