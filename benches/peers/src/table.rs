//! Tables in Markdown: who was how fast, for what, by how much, and in words where a peer is ahead.

use std::fmt::Write;

use crate::evidence::Workload;
use crate::peer::System;
use crate::sheet::{Row, bytes, duration};

/// A ratio this near to 1 is nobody's win.
const EVEN: f64 = 0.02;
const NOTHING: &str = "";

/// Title of a workload.
pub(crate) fn title(name: &str) -> &'static str {
    match name {
        "publish" => "Durable publish",
        "live" => "Live fan-out",
        "catch-up" => "Catch-up of everything",
        "conflated" => "Catch-up of what is left of many mutations",
        "idle" => "Idle readers",
        "growth" => "Growth",
        "restart" => "Restart after SIGKILL",
        "memory" => "Memory of the broker over time",
        _ => "Workload",
    }
}

/// The table of one workload, and below it where a peer is ahead.
pub(crate) fn workload(name: &str, workload: &Workload) -> String {
    let mut text = format!("### {}\n\n", title(name));
    let Workload { day, commit, versions, extent, processors, load_average, rows } = workload;
    let _ = writeln!(
        text,
        "{day}, commit {commit}, {extent} extent, {versions}; {processors} processors, load average {load_average:.1} before the run.\n"
    );
    let columns = columns();
    let used: Vec<_> = columns.iter().filter(|(_, cell)| rows.iter().any(|row| cell(row, rows) != NOTHING)).collect();
    let _ = writeln!(text, "| {} |", used.iter().map(|(head, _)| *head).collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(used.len()));
    for row in rows {
        let cells: Vec<_> = used.iter().map(|(_, cell)| cell(row, rows)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    if rows.iter().any(|row| !row.system.is_ours()) {
        let _ = writeln!(text, "\n{}", wins(rows));
    }
    text.push('\n');
    text
}

type Cell = fn(&Row, &[Row]) -> String;

fn columns() -> [(&'static str, Cell); 15] {
    [
        ("case", first_of_case),
        ("system", |row, _| row.system.name().to_owned()),
        ("median", |row, _| row.figure.map_or_else(|| failed(row), |figure| row.judge.written(figure))),
        ("rounds", |row, _| spread(row)),
        ("ours is better by", ratio_cell),
        ("p50", |row, _| row.latency.map(|latency| duration(latency.p50)).unwrap_or_default()),
        ("p99", |row, _| row.latency.map(|latency| duration(latency.p99)).unwrap_or_default()),
        ("p99.9", |row, _| row.latency.map(|latency| duration(latency.p999)).unwrap_or_default()),
        ("server CPU", |row, _| each(row.cost.server_cpu_us)),
        ("client CPU", |row, _| each(row.cost.client_cpu_us)),
        ("disk", |row, _| size(row.cost.disk_bytes)),
        ("written", |row, _| size(row.cost.written_bytes)),
        ("wire", |row, _| size(row.cost.wire_bytes)),
        ("memory", |row, _| size(row.cost.rss_max_bytes)),
        ("used as; an answer promised", |row, _| format!("{}; {}", row.setting, row.system.promised())),
    ]
}

fn first_of_case(row: &Row, rows: &[Row]) -> String {
    let first = rows.iter().find(|other| other.case == row.case).is_some_and(|first| first.system == row.system);
    if first { row.case.clone() } else { NOTHING.to_owned() }
}

fn failed(row: &Row) -> String {
    format!("not measured: {}", row.failure.as_deref().unwrap_or("no reason").replace('|', "/"))
}

fn spread(row: &Row) -> String {
    match row.spread.filter(|_| row.rounds > 1) {
        Some((least, most)) => format!("{}: {} to {}", row.rounds, row.judge.written(least), row.judge.written(most)),
        None => row.rounds.to_string(),
    }
}

fn each(micros: Option<f64>) -> String {
    micros.map(|micros| format!("{micros:.1} µs")).unwrap_or_default()
}

fn size(size: Option<f64>) -> String {
    size.map(bytes).unwrap_or_default()
}

/// How many times better ours is in the case of a peer's row; `None` where one of them has no figure.
fn ratio(row: &Row, rows: &[Row]) -> Option<f64> {
    let ours = rows.iter().find(|other| other.case == row.case && other.system == System::Tidings)?.figure?;
    (!row.system.is_ours()).then_some(row.judge.ratio(ours, row.figure?))
}

fn ratio_cell(row: &Row, rows: &[Row]) -> String {
    match ratio(row, rows) {
        Some(ratio) if ratio >= 10.0 => format!("**{ratio:.0}**"),
        Some(ratio) if ratio > 1.0 => format!("**{ratio:.2}**"),
        Some(ratio) if ratio > 0.1 => format!("{ratio:.2}"),
        Some(ratio) => format!("{ratio:.3}"),
        None => NOTHING.to_owned(),
    }
}

/// Where a peer is ahead, in words.
fn wins(rows: &[Row]) -> String {
    let ahead = rows.iter().filter_map(|row| {
        let ratio = ratio(row, rows).filter(|ratio| *ratio < 1.0 - EVEN)?;
        let times = if ratio > 0.1 { format!("{:.2}", 1.0 / ratio) } else { format!("{:.0}", 1.0 / ratio) };
        Some(format!("- {} is {times} times better than ours: {} ({}).", row.system.name(), row.case, row.system.promised()))
    });
    let ahead: Vec<_> = ahead.collect();
    let unknown = rows.iter().filter(|row| row.system == System::Tidings && row.figure.is_none()).count();
    match (ahead.is_empty(), unknown) {
        (true, 0) => "No peer is ahead in this table.".to_owned(),
        (true, _) => format!("Ours was not measured in {unknown} of these cases."),
        (false, 0) => format!("Where a peer is ahead:\n\n{}", ahead.join("\n")),
        (false, _) => format!("Ours was not measured in {unknown} of these cases. Where a peer is ahead:\n\n{}", ahead.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::{ratio_cell, wins};
    use crate::meter::Cost;
    use crate::peer::System;
    use crate::sheet::{Judge, Row};

    fn row(system: System, judge: Judge, figure: Option<f64>) -> Row {
        let (case, setting, cost) = ("a".to_owned(), "used".to_owned(), Cost::default());
        Row {
            case,
            judge,
            system,
            setting,
            rounds: 1,
            messages: 1,
            figure,
            spread: None,
            latency: None,
            cost,
            curve: Vec::new(),
            failure: None,
        }
    }

    #[test]
    fn a_peer_that_is_ahead_is_named_with_what_it_promised() {
        let rows = [row(System::Tidings, Judge::Seconds, Some(2.0)), row(System::JetStream, Judge::Seconds, Some(1.0))];
        assert_eq!(wins(&rows), "Where a peer is ahead:\n\n- JetStream is 2.00 times better than ours: a (in the page cache).");
        assert_eq!(ratio_cell(&rows[1], &rows), "0.50");
    }

    #[test]
    fn no_win_is_claimed_where_ours_has_no_figure() {
        let rows = [row(System::Tidings, Judge::PerSecond, None), row(System::JetStream, Judge::PerSecond, Some(1.0))];
        assert_eq!(wins(&rows), "Ours was not measured in 1 of these cases.");
        assert_eq!(ratio_cell(&rows[1], &rows), "");
    }

    #[test]
    fn a_peer_that_is_behind_is_not_said_to_be_ahead() {
        let rows = [row(System::Tidings, Judge::PerSecond, Some(30.0)), row(System::JetStream, Judge::PerSecond, Some(1.0))];
        assert_eq!(wins(&rows), "No peer is ahead in this table.");
        assert_eq!(ratio_cell(&rows[1], &rows), "**30**");
    }
}
