//! Plots as SVG, by hand: bars for each case, on the scale of that case; curves where something grows.

use std::fmt::Write;

use crate::peer::System;
use crate::sheet::{Judge, Row};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 180.0;
const BARS: f64 = 520.0;
const LINE: f64 = 20.0;
const TOP: f64 = 30.0;
const CURVES_HEIGHT: f64 = 280.0;
const FONT: &str = "font-family=\"Helvetica, Arial, sans-serif\"";

/// The plot of one workload.
pub(crate) fn workload(name: &str, rows: &[Row]) -> String {
    match name {
        "growth" => curves(rows),
        "memory" => phases(rows),
        _ => bars(rows),
    }
}

fn color(system: System) -> &'static str {
    match system {
        System::Tidings => "#1b6ca8",
        System::TidingsForgetful => "#7fb2d6",
        System::JetStream => "#c8553d",
        System::NatsCore => "#e0a458",
        System::RedisAlways => "#588157",
        System::RedisEverySecond => "#a3b18a",
    }
}

fn bars(rows: &[Row]) -> String {
    let (mut body, mut y, mut case) = (String::new(), TOP, "");
    for row in rows {
        if row.case != case {
            case = &row.case;
            y += LINE / 2.0;
            let better = if row.judge == Judge::PerSecond { "more is better" } else { "less is better" };
            text(&mut body, 10.0, y, "start", &format!("{case} ({better})"), "#222");
            y += LINE;
        }
        let longest = rows.iter().filter(|other| other.case == row.case).filter_map(|other| other.figure).fold(0.0, f64::max);
        let width = row.figure.map_or(0.0, |figure| (BARS * figure / longest).max(1.0));
        let label = row.figure.map_or("not measured".to_owned(), |figure| row.judge.written(figure));
        text(&mut body, LEFT - 8.0, y, "end", row.system.name(), "#222");
        let _ =
            writeln!(body, "<rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"14\" fill=\"{}\"/>", y - 11.0, color(row.system));
        text(&mut body, LEFT + width + 6.0, y, "start", &label, "#222");
        y += LINE;
    }
    image(y, &body)
}

/// Two fields, entries and queues: messages a second over a number on a logarithmic scale, the vertical axis from zero.
fn curves(rows: &[Row]) -> String {
    let mut body = String::new();
    let fields = [("entries in one queue", true), ("queues", false)];
    for (at, (name, entries)) in fields.into_iter().enumerate() {
        let chosen: Vec<_> = rows.iter().filter(|row| row.case.starts_with("one queue") == entries).collect();
        field(&mut body, TOP + at as f64 * (CURVES_HEIGHT + 90.0), name, &chosen);
    }
    image(TOP + 2.0 * (CURVES_HEIGHT + 90.0), &body)
}

fn field(body: &mut String, top: f64, name: &str, rows: &[&Row]) {
    let points: Vec<_> = rows.iter().filter_map(|row| Some((row.system, number(&row.case)?, row.figure?))).collect();
    let most = points.iter().map(|point| point.2).fold(1.0, f64::max);
    let (low, high) = points.iter().fold((f64::MAX, 0.0f64), |(low, high), point| (low.min(point.1), high.max(point.1)));
    let x = |number: f64| LEFT + BARS * (number / low).ln() / (high / low).ln().max(f64::MIN_POSITIVE);
    let y = |figure: f64| top + CURVES_HEIGHT * (1.0 - figure / most);
    text(body, 10.0, top - 12.0, "start", &format!("messages a second over the number of {name}"), "#222");
    let bottom = top + CURVES_HEIGHT;
    let _ = writeln!(body, "<path d=\"M{LEFT} {top} V{bottom} H{}\" fill=\"none\" stroke=\"#888\"/>", LEFT + BARS);
    for part in [0.0, 0.5, 1.0] {
        text(body, LEFT - 8.0, y(most * part) + 4.0, "end", &Judge::PerSecond.written(most * part), "#222");
    }
    let mut ticks: Vec<_> = points.iter().map(|point| point.1).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    ticks.into_iter().for_each(|tick| text(body, x(tick), bottom + 16.0, "middle", &crate::sheet::grouped(tick), "#222"));
    for system in [System::Tidings, System::JetStream] {
        let line: Vec<_> = points.iter().filter(|point| point.0 == system).map(|(_, number, figure)| (x(*number), y(*figure))).collect();
        let path: Vec<_> = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(body, "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>", path.join(" "), color(system));
        for (x, y) in &line {
            let _ = writeln!(body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>", color(system));
        }
        if let Some((x, y)) = line.last() {
            text(body, x + 8.0, y + 4.0, "start", system.name(), color(system));
        }
    }
}

/// One curve over time, a part for each row, which are told below it.
fn phases(rows: &[Row]) -> String {
    let points = || rows.iter().flat_map(|row| &row.curve);
    let (last, most) = points().fold((1.0f64, 1.0f64), |(last, most), point| (last.max(point.0), most.max(point.1)));
    let width = WIDTH - LEFT / 2.0 - 20.0;
    let x = |seconds: f64| LEFT / 2.0 + width * seconds / last;
    let y = |bytes: f64| TOP + CURVES_HEIGHT * (1.0 - bytes / most);
    let (mut body, bottom) = (String::new(), TOP + CURVES_HEIGHT);
    text(&mut body, 10.0, TOP - 12.0, "start", "resident memory of the broker over seconds", "#222");
    for part in [0.0, 0.5, 1.0] {
        text(&mut body, LEFT / 2.0 - 8.0, y(most * part) + 4.0, "end", &Judge::Bytes.written(most * part), "#222");
        text(&mut body, x(last * part), bottom + 16.0, "middle", &format!("{:.0}", last * part), "#222");
    }
    let _ = writeln!(body, "<path d=\"M{} {TOP} V{bottom} H{}\" fill=\"none\" stroke=\"#888\"/>", LEFT / 2.0, LEFT / 2.0 + width);
    let path: Vec<_> = points().map(|(seconds, bytes)| format!("{:.1},{:.1}", x(*seconds), y(*bytes))).collect();
    let line = color(System::Tidings);
    let _ = writeln!(body, "<polyline points=\"{}\" fill=\"none\" stroke=\"{line}\" stroke-width=\"2\"/>", path.join(" "));
    for (at, row) in rows.iter().enumerate() {
        let Some((seconds, _)) = row.curve.first() else { continue };
        let _ = writeln!(body, "<path d=\"M{0:.1} {TOP} V{bottom}\" stroke=\"#ccc\" stroke-dasharray=\"3 3\"/>", x(*seconds));
        text(&mut body, x(*seconds) + 4.0, TOP + 12.0, "start", &format!("{}", at + 1), "#555");
        text(&mut body, 10.0, bottom + 44.0 + LINE * at as f64, "start", &row.case, "#222");
    }
    image(bottom + 50.0 + LINE * rows.len() as f64, &body)
}

/// The first number in a case.
fn number(case: &str) -> Option<f64> {
    case.split(' ').find_map(|word| word.parse().ok())
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, text: &str, color: &str) {
    let _ =
        writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {FONT} font-size=\"12\" fill=\"{color}\">{text}</text>");
}

fn image(height: f64, body: &str) -> String {
    let head = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">");
    format!("{head}\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n")
}
