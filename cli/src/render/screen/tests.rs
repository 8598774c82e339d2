//! A screen against a terminal that is a grid of lines: what a person would see, not the bytes.

use super::*;
use crate::render::script::{self, finish, log, start, started};
use kiln_engine::event::{Hit, Miss};
use proptest::prelude::*;

const WIDE: Size = Size { columns: 60, rows: 24 };

/// Understands exactly what a screen writes: lines that wrap, cursor up, clear below.
struct Terminal {
    columns: usize,
    lines: Vec<String>,
    cursor: usize,
}

impl Terminal {
    fn new(columns: usize) -> Self {
        Terminal { columns, lines: vec![String::new()], cursor: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut rest = std::str::from_utf8(bytes).unwrap();
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                match &sequence[end..=end] {
                    "A" => self.cursor -= sequence[..end].parse::<usize>().unwrap(),
                    "J" => self.lines.truncate(self.cursor),
                    other => panic!("the terminal does not know {other}"),
                }
                self.lines.resize(self.lines.len().max(self.cursor + 1), String::new());
                rest = &sequence[end + 1..];
                continue;
            }
            match c {
                '\r' => {}
                '\n' => self.down(),
                c => {
                    if self.lines[self.cursor].chars().count() == self.columns {
                        self.down();
                    }
                    self.lines[self.cursor].push(c);
                }
            }
            rest = &rest[c.len_utf8()..];
        }
    }

    fn down(&mut self) {
        self.cursor += 1;
        self.lines.resize(self.lines.len().max(self.cursor + 1), String::new());
    }

    fn shown(&self) -> String {
        self.lines.join("\n")
    }
}

/// Paints after every event, a second apart, and once more a second after the last.
fn played(events: Vec<Event>, size: Size) -> Terminal {
    let mut screen = Screen::new(false);
    let mut terminal = Terminal::new(size.columns);
    let mut seconds = 0;
    for event in events {
        screen.event(event, Duration::from_secs(seconds));
        seconds += 1;
        let mut bytes = Vec::new();
        screen.paint(Duration::from_secs(seconds), size, &mut bytes).unwrap();
        terminal.write(&bytes);
    }
    terminal
}

#[test]
fn running_steps_show_their_last_lines_and_times_below_what_is_done() {
    let mut events = script::successful();
    events.truncate(6);
    events.push(log(1, "two\nthree\n\nfour\nfive\n"));
    insta::assert_snapshot!(played(events, WIDE).shown());
}

#[test]
fn a_finished_build_leaves_one_line_a_step_and_its_summary() {
    insta::assert_snapshot!(played(script::successful(), WIDE).shown());
}

#[test]
fn a_failed_step_shows_every_line_whole_and_unclipped() {
    let mut events = script::failing();
    events.insert(5, log(1, &format!("{}\n", "wide ".repeat(20))));
    insta::assert_snapshot!(played(events, WIDE).shown());
}

#[test]
fn nothing_of_a_thousand_lines_is_lost() {
    let shown = played(script::failing_with_lines(1000), WIDE).shown();
    let found = shown.lines().filter(|line| line.starts_with("line ")).count();
    assert_eq!(found, 1000);
}

#[test]
fn the_block_never_grows_higher_than_the_terminal() {
    let steps = (0..30).map(|n| script::info(&format!("[s{n} 1/1] RUN x"), "s", n)).collect();
    let mut screen = Screen::new(false);
    screen.event(Event::BuildStarted { build: String::new(), steps }, Duration::ZERO);
    for step in 0..30 {
        screen.event(start(step, ""), Duration::ZERO);
        screen.event(log(step, "a\nb\nc\nd\ne\n"), Duration::ZERO);
        for rows in 1..20 {
            let block = screen.block(Duration::from_secs(1), Size { columns: 20, rows });
            assert!(block.len() < rows.max(3), "{} lines in {rows} rows", block.len());
        }
    }
    insta::assert_snapshot!(screen.block(Duration::from_secs(1), Size { columns: 20, rows: 6 }).join("\n"));
}

#[test]
fn a_terminal_that_became_narrower_is_cleared_as_it_wrapped() {
    let mut screen = Screen::new(false);
    screen.event(started(), Duration::ZERO);
    screen.event(start(1, "src/a.c changed"), Duration::ZERO);
    screen.paint(Duration::from_secs(1), WIDE, &mut Vec::new()).unwrap();
    let widths: Vec<usize> = screen.painted.clone();
    let mut bytes = Vec::new();
    screen.paint(Duration::from_secs(2), Size { columns: 20, rows: 24 }, &mut bytes).unwrap();
    let rows: usize = widths.iter().map(|width| width.div_ceil(20)).sum();
    assert!(rows > widths.len());
    assert!(String::from_utf8(bytes).unwrap().starts_with(&format!("\r\x1b[{rows}A\x1b[J")));
}

#[test]
fn a_block_is_as_narrow_as_its_terminal_for_every_width() {
    let mut screen = Screen::new(false);
    screen.event(started(), Duration::ZERO);
    screen.event(start(1, "src/a.c changed"), Duration::ZERO);
    screen.event(log(1, "日本語 and more\n"), Duration::ZERO);
    for columns in 1..60 {
        for line in screen.block(Duration::from_secs(3), Size { columns, rows: 24 }) {
            assert!(line.width() <= columns, "{line:?} in {columns} columns");
        }
    }
}

/// Any event of a build of four steps, in an order that no engine would choose too.
fn any_event() -> impl Strategy<Value = Event> {
    let verdict = prop::sample::select(vec![
        Verdict::Hit(Hit::Local),
        Verdict::Miss(Miss::Changed),
        Verdict::Failed(None),
        Verdict::Cancelled,
    ]);
    prop_oneof![
        (0usize..6).prop_map(|step| start(step, "first time")),
        (0usize..6, "[a-z\r\n日]{0,90}").prop_map(|(step, text)| log(step, &text)),
        (0usize..6, verdict).prop_map(|(step, verdict)| finish(step, verdict, "", 1.0)),
        "[a-z]{0,90}".prop_map(|message| Event::Warning { message }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_only_the_block_is_ever_taken_back(
        events in prop::collection::vec(any_event(), 0..40),
        columns in prop::collection::vec(30usize..90, 42),
    ) {
        let mut screen = Screen::new(false);
        let mut kept = String::new();
        let all = std::iter::once(started()).chain(events).chain([script::failed()]);
        for ((event, columns), second) in all.zip(columns).zip(0..) {
            let block: usize = screen.painted.iter().map(|width| width.div_ceil(columns).max(1)).sum();
            screen.event(event, Duration::from_secs(second));
            let mut bytes = Vec::new();
            let size = Size { columns, rows: 24 };
            screen.paint(Duration::from_secs(second), size, &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            let erase = format!("\r\x1b[{block}A\x1b[J");
            let text = if block == 0 { text.as_str() } else { text.strip_prefix(&erase).unwrap() };
            prop_assert!(!text.contains('\x1b'), "taken back twice: {text:?}");
            kept.push_str(text);
            prop_assert_eq!(screen.painted.is_empty(), !screen.is_running());
        }
        prop_assert!(screen.painted.is_empty(), "a block is left behind");
        prop_assert!(kept.ends_with("1 failed, 2 cancelled\n"));
    }
}

#[test]
fn colour_repeats_the_word_and_is_absent_where_it_is_not_wanted() {
    let painted = |colour| {
        let mut screen = Screen::new(colour);
        screen.event(started(), Duration::ZERO);
        screen.event(finish(0, Verdict::Hit(Hit::Local), "local", 0.0), Duration::ZERO);
        let mut bytes = Vec::new();
        screen.paint(Duration::ZERO, WIDE, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert!(painted(true).contains("... \x1b[32mhit\x1b[0m (local)\n"));
    assert!(!painted(false).contains('\x1b'));
}
