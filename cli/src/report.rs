//! Draws failures and findings: file, line, column, the source with a caret, causes, help.
//!
//! Pure. The drawing in the source is miette's; what it can be trusted with (spans inside the
//! text, on character boundaries, on one line) is made sure here.

use crate::environment::Environment;
use crate::failure::{Failure, UsageError};
use crate::streams::Stream;
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::source::Sources;
use kiln_dsl::span::Span;
use kiln_engine::api::BuildError;
use kiln_engine::sandbox::Identity;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, ThemeCharacters, ThemeStyles,
};
use std::error::Error;
use std::fmt::{self, Write as _};

/// How text may look where it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Colours may be used.
    pub colour: bool,
    /// Lines and arrows may be drawn with more than ASCII.
    pub unicode: bool,
    /// Cells in a line; messages are wrapped, source lines are not.
    pub width: usize,
}

impl Look {
    /// How text looks on `stream`, which is `width` wide if it is a terminal.
    pub fn of(stream: &Stream, environment: &Environment, width: usize) -> Self {
        let is_terminal = stream.is_terminal();
        Look {
            colour: is_terminal && !environment.refuses_colour(),
            unicode: environment.is_utf8(),
            width: if is_terminal { width } else { PIPE_WIDTH },
        }
    }
}

/// Where messages wrap when nobody says how wide the reader's screen is.
const PIPE_WIDTH: usize = 100;

/// All that is to be said about a failure, as whole lines.
pub fn failure(failure: &Failure, look: Look) -> String {
    if let Failure::Build(BuildError::Diagnostics { sources, diagnostics }) = failure {
        let mut out = String::new();
        for finding in diagnostics {
            out.push_str(&self::finding(finding, sources, look));
            out.push('\n');
        }
        let _infallible = writeln!(out, "{}: {failure}: {}", error_word(look), count(diagnostics));
        return out;
    }
    if let Failure::Usage(UsageError::Project { file, text, finding }) = failure {
        return self::finding(finding, &Sources::new(file.as_str(), text.as_str()), look);
    }
    if let Failure::Build(build) = failure
        && let Some(place) = build.place()
        && !place.text.is_empty()
    {
        let shown = Shown {
            message: build.to_string(),
            code: format!("error[{}]", build.code()),
            severity: Severity::Error,
            help: build.advice(),
            source: NamedSource::new(&place.file, place.text.to_string()),
            labels: vec![label(place.span, &place.text, None, true)],
            cause: build.source(),
        };
        let mut out = draw(&shown, look);
        for (words, place) in &place.trail {
            out.push_str(&note(words, &place.file, &place.text, place.span, look));
        }
        return out;
    }
    let mut out = format!("{}: {failure}\n", error_word(look));
    let mut cause = failure.source();
    while let Some(error) = cause {
        let _infallible = writeln!(out, "  caused by: {error}");
        cause = error.source();
    }
    if let Some(advice) = failure.advice() {
        let _infallible = writeln!(out, "help: {advice}");
    }
    out
}

/// What works less well for this user than for root, to be said where a build failed.
pub fn notes(identity: &Identity) -> String {
    let note = |warning: &kiln_engine::sandbox::Warning| format!("note: {warning}\nhelp: {}\n", warning.help());
    identity.warnings.iter().map(note).collect()
}

/// One finding in a file, with the places in other files that it is about, and those that name the file.
pub fn finding(finding: &Diagnostic, sources: &Sources, look: Look) -> String {
    let place = sources.shown(finding.span);
    let (file, text) = (place.name, &*place.text);
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        finding.related.iter().partition(|(span, _)| sources.is_one_text(finding.span, *span));
    let related =
        here.into_iter().map(|(span, words)| label(sources.shown(*span).span, text, Some(words.clone()), false));
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    };
    let shown = Shown {
        message: finding.message.clone(),
        code: format!("{word}[{}]", finding.code),
        severity: finding.severity,
        help: finding.help.clone(),
        source: NamedSource::new(file, text.to_owned()),
        labels: std::iter::once(label(place.span, text, None, true)).chain(related).collect(),
        cause: None,
    };
    if text.is_empty() {
        let help = shown.help.map(|help| format!("  help: {help}\n")).unwrap_or_default();
        return format!("{word}[{}]: {}\n  in {file}, which is empty\n{help}", finding.code, finding.message);
    }
    let mut out = draw(&shown, look);
    for (span, words) in elsewhere.into_iter().chain(&sources.trail(finding.span)) {
        let place = sources.shown(*span);
        out.push_str(&note(words, place.name, &place.text, place.span, look));
    }
    out
}

/// A further place in another text.
fn note(words: &str, file: &str, text: &str, span: Span, look: Look) -> String {
    let shown = Shown {
        message: words.to_owned(),
        code: "note".to_owned(),
        severity: Severity::Advice,
        help: None,
        source: NamedSource::new(file, text.to_owned()),
        labels: vec![label(span, text, None, true)],
        cause: None,
    };
    draw(&shown, look)
}

fn error_word(look: Look) -> &'static str {
    if look.colour { "\x1b[1;31merror\x1b[0m" } else { "error" }
}

fn count(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match warnings {
        0 => plural(errors, "error"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

/// A span that miette can draw: inside the text, on character boundaries, on its first line only,
/// so that a RUN of fifty lines does not fill the screen.
fn label(span: Span, text: &str, words: Option<String>, is_primary: bool) -> LabeledSpan {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let mut start = floor(span.start as usize);
    if start == text.len() {
        // Behind the last character is no line to show; the last line's end is meant.
        start = text.trim_end().len();
    }
    let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |at| start + at);
    let end = floor(span.end as usize).clamp(start, line_end);
    if is_primary {
        LabeledSpan::new_primary_with_span(words, (start, end - start))
    } else {
        LabeledSpan::new_with_span(words, (start, end - start))
    }
}

fn draw(shown: &Shown<'_>, look: Look) -> String {
    let characters = if look.unicode { ThemeCharacters::unicode() } else { ThemeCharacters::ascii() };
    let styles = if look.colour { ThemeStyles::ansi() } else { ThemeStyles::none() };
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme { characters, styles })
        .with_width(look.width)
        // Digests and paths are there to be copied.
        .with_break_words(false)
        .with_context_lines(1)
        .with_links(false);
    let mut out = String::new();
    if handler.render_report(&mut out, shown).is_err() {
        // Only a source that cannot be read gets here, and the message is worth more than the drawing.
        return format!("{}: {}\n", error_word(look), shown.message);
    }
    out.lines().fold(String::new(), |mut clean, line| {
        clean.push_str(line.trim_end());
        clean.push('\n');
        clean
    })
}

/// What miette draws.
#[derive(Debug)]
struct Shown<'a> {
    message: String,
    code: String,
    severity: Severity,
    help: Option<String>,
    source: NamedSource<String>,
    labels: Vec<LabeledSpan>,
    cause: Option<&'a (dyn Error + 'static)>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
    }
}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Advice => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::UsageError;
    use kiln_engine::api::{Exit, Place};
    use std::io;

    const PLAIN: Look = Look { colour: false, unicode: false, width: 80 };
    const DRAWN: Look = Look { unicode: true, ..PLAIN };
    const FILE: &str = "FROM busybox AS build\nRUNN make\nFROM busybox AS build\nCOPY . .\n";

    fn findings() -> Failure {
        let second = FILE.rfind("build").unwrap();
        let diagnostics = vec![
            Diagnostic::error("UnknownInstruction", Span::new(22, 26), "unknown instruction RUNN")
                .with_help("did you mean RUN?"),
            Diagnostic::warning("DuplicateStageName", Span::new(second, second + 5), "stage \"build\" is named twice")
                .with_related(Span::new(16, 21), "first named here"),
        ];
        Failure::Build(BuildError::Diagnostics { sources: Box::new(Sources::new("Dockerfile", FILE)), diagnostics })
    }

    #[test]
    fn all_findings_are_drawn_in_their_lines() {
        insta::assert_snapshot!(failure(&findings(), DRAWN));
    }

    #[test]
    fn where_the_locale_is_not_utf8_only_ascii_is_drawn() {
        let text = failure(&findings(), PLAIN);
        assert!(text.is_ascii());
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_failed_step_shows_the_first_line_of_its_instruction() {
        let text = "FROM busybox\nRUN make \\\n  -C src\nCMD x\n";
        let place = Place { file: "Dockerfile".into(), text: text.into(), span: Span::new(13, 32), trail: Vec::new() };
        let error = BuildError::StepFailed {
            step: "[2/2] RUN make -C src".into(),
            place: Some(Box::new(place)),
            exit: Exit::Code(127),
        };
        insta::assert_snapshot!(failure(&error.into(), DRAWN));
    }

    #[test]
    fn a_failed_pull_shows_its_line_and_its_causes() {
        let text = "FROM nowhere/app\n";
        let place = Place { file: "Dockerfile".into(), text: text.into(), span: Span::new(5, 16), trail: Vec::new() };
        let error = BuildError::Pull {
            image: "docker.io/nowhere/app:latest".into(),
            place: Some(Box::new(place)),
            near: None,
            source: Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
        };
        insta::assert_snapshot!(failure(&error.into(), DRAWN));
    }

    #[test]
    fn other_failures_show_their_causes_and_the_way_out() {
        let error = BuildError::Dockerfile { path: "app/Dockerfile".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(
            failure(&error.into(), PLAIN),
            "error: failed to read the Dockerfile app/Dockerfile\n  caused by: entity not found\n\
             help: name another file with -f/--file\n"
        );
        assert_eq!(
            failure(&UsageError::NoStore.into(), PLAIN),
            "error: there is no place for the store: neither KILN_STORE nor XDG_DATA_HOME nor HOME is set\n\
             help: set KILN_STORE to a directory\n"
        );
    }

    #[test]
    fn any_span_in_any_text_is_drawn() {
        for text in ["", "\n", "x", "FROM ä\r\nRUN é\n\n", "no newline"] {
            for start in 0..=text.len() + 2 {
                for end in 0..=text.len() + 2 {
                    let it = Diagnostic::error("Code", Span::new(start, end), "the message");
                    let drawn = finding(&it, &Sources::new("Dockerfile", text), DRAWN);
                    assert!(drawn.contains("the message"), "{drawn}");
                    assert!(drawn.contains("Dockerfile"), "{start}..{end} of {text:?}: {drawn}");
                }
            }
        }
    }

    #[test]
    fn colour_is_used_only_where_it_is_wanted() {
        assert!(failure(&findings(), Look { colour: true, ..DRAWN }).contains("\x1b[31m"));
        assert!(!failure(&findings(), DRAWN).contains('\x1b'));
    }
}
