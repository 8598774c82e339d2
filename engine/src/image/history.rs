//! The `created_by` text of each instruction, as BuildKit writes it: much of it is Go's `fmt` of its own
//! structures, quotes and maps included.
//!
//! ONBUILD and FROM leave no entry. All values are those after expansion; ARG shows the default and not
//! what the build gave. Knows nothing of the Dockerfile's own types.

use super::config::Healthcheck;
use std::fmt::Write as _;

/// RUN: the names and values of the build arguments in scope, in the order of their ARGs, and the
/// command with its shell (`["/bin/sh", "-c", "make"]`).
pub fn run(args: &[(String, String)], command: &[String]) -> String {
    let mut text = "RUN ".to_owned();
    if !args.is_empty() {
        push(&mut text, format_args!("|{} ", args.len()));
        for (name, value) in args {
            push(&mut text, format_args!("{name}={value} "));
        }
    }
    text + &command.join(" ") + " # buildkit"
}

/// The flags of COPY and ADD that the history shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyFlags<'a> {
    /// `--parents`.
    pub parents: bool,
    /// `--chown`, as written, after expansion.
    pub chown: Option<&'a str>,
    /// `--chmod`, as written, after expansion.
    pub chmod: Option<&'a str>,
}

/// COPY: sources as written, after expansion; a heredoc as `<<NAME`.
pub fn copy(flags: CopyFlags<'_>, sources: &[String], destination: &str) -> String {
    transfer("COPY", flags, sources, destination)
}

/// ADD, as [`copy`].
pub fn add(flags: CopyFlags<'_>, sources: &[String], destination: &str) -> String {
    transfer("ADD", flags, sources, destination)
}

fn transfer(word: &str, flags: CopyFlags<'_>, sources: &[String], destination: &str) -> String {
    let mut text = word.to_owned();
    if flags.parents {
        text += " --parents";
    }
    for (name, value) in [("chown", flags.chown), ("chmod", flags.chmod)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            push(&mut text, format_args!(" --{name}={value}"));
        }
    }
    for source in sources {
        push(&mut text, format_args!(" {source}"));
    }
    push(&mut text, format_args!(" {destination} # buildkit"));
    text
}

/// WORKDIR: the whole path, not what the instruction added to it.
pub fn workdir(path: &str) -> String {
    format!("WORKDIR {path}")
}

/// Whether WORKDIR makes a layer: everywhere but at the root, whether the directory exists or not.
pub fn workdir_makes_layer(path: &str) -> bool {
    path != "/"
}

/// ENV.
pub fn env(pairs: &[(String, String)]) -> String {
    key_values("ENV", pairs)
}

/// LABEL, in the order written.
pub fn label(pairs: &[(String, String)]) -> String {
    key_values("LABEL", pairs)
}

fn key_values(word: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(word.to_owned(), |text, (key, value)| format!("{text} {key}={value}"))
}

/// ARG: names with their defaults.
pub fn arg(args: &[(String, Option<String>)]) -> String {
    args.iter().fold("ARG".to_owned(), |text, (name, default)| match default {
        Some(default) => format!("{text} {name}={default}"),
        None => format!("{text} {name}"),
    })
}

/// EXPOSE: the ports of this instruction as `port/protocol`, in any order.
pub fn expose(ports: &[String]) -> String {
    let mut ports: Vec<String> = ports.iter().map(|port| format!("{port}:{{}}")).collect();
    ports.sort();
    ports.dedup();
    format!("EXPOSE map[{}]", ports.join(" "))
}

/// USER.
pub fn user(user: &str) -> String {
    format!("USER {user}")
}

/// VOLUME.
pub fn volume(paths: &[String]) -> String {
    format!("VOLUME [{}]", paths.join(" "))
}

/// STOPSIGNAL.
pub fn stopsignal(signal: &str) -> String {
    format!("STOPSIGNAL {signal}")
}

/// MAINTAINER.
pub fn maintainer(author: &str) -> String {
    format!("MAINTAINER {author}")
}

/// SHELL.
pub fn shell(words: &[String]) -> String {
    format!("SHELL [{}]", words.join(" "))
}

/// CMD: its words, those of the shell included where it has one.
pub fn cmd(words: &[String]) -> String {
    format!("CMD {}", quoted_list(words))
}

/// ENTRYPOINT, as [`cmd`].
pub fn entrypoint(words: &[String]) -> String {
    format!("ENTRYPOINT {}", quoted_list(words))
}

/// HEALTHCHECK: durations as Go prints them, and the number of retries, quoted as Go quotes a number, as
/// the character with that code.
pub fn healthcheck(check: &Healthcheck) -> String {
    let durations = [check.interval, check.timeout, check.start_period, check.start_interval];
    let durations = durations.map(|nanos| format!("\"{}\"", go_duration(nanos))).join(" ");
    let retries = u32::try_from(check.retries).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut quoted = String::new();
    quote_char(&mut quoted, retries, '\'');
    format!("HEALTHCHECK &{{{} {durations} '{quoted}'}}", quoted_list(&check.test))
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string does not fail");
}

/// `%q` of a list of strings.
fn quoted_list(words: &[String]) -> String {
    let mut text = "[".to_owned();
    for (at, word) in words.iter().enumerate() {
        text += if at > 0 { " \"" } else { "\"" };
        word.chars().for_each(|c| quote_char(&mut text, c, '"'));
        text.push('"');
    }
    text + "]"
}

/// One character as Go's `strconv.Quote` writes it between `quote`s.
fn quote_char(text: &mut String, c: char, quote: char) {
    match c {
        '\u{7}' => *text += "\\a",
        '\u{8}' => *text += "\\b",
        '\u{c}' => *text += "\\f",
        '\n' => *text += "\\n",
        '\r' => *text += "\\r",
        '\t' => *text += "\\t",
        '\u{b}' => *text += "\\v",
        '\\' => *text += "\\\\",
        c if c == quote => text.extend(['\\', c]),
        c if is_printable(c) => text.push(c),
        c if u32::from(c) < 0x80 => push(text, format_args!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => push(text, format_args!("\\u{:04x}", u32::from(c))),
        c => push(text, format_args!("\\U{:08x}", u32::from(c))),
    }
}

/// Go and Rust call the same characters printable: all but controls, formats, unassigned ones and spaces
/// other than U+0020. Behind a letter Rust does not escape combining marks either.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"') || ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

/// `time.Duration` as Go prints it: `1h30m0s`, `1.5s`, `20ms`.
fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let with_fraction = |unit: u64| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let width = unit.ilog10() as usize;
        if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:0width$}").trim_end_matches('0').to_owned() }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", with_fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", with_fraction(1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let fraction = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let seconds = fraction.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Every expected text was written by Docker 26.1 (BuildKit) for the instruction beside it.

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn run_shows_the_arguments_in_scope_and_the_command_with_its_shell() {
        assert_eq!(run(&[], &words(&["/bin/sh", "-c", "true"])), "RUN /bin/sh -c true # buildkit");
        let args = pairs(&[("A", "cli"), ("NOVAL", ""), ("C", "1"), ("D", "2")]);
        assert_eq!(
            run(&args, &words(&["/bin/sh", "-c", "echo hi   >  /x &&     true"])),
            "RUN |4 A=cli NOVAL= C=1 D=2 /bin/sh -c echo hi   >  /x &&     true # buildkit"
        );
        assert_eq!(
            run(&args, &words(&["/bin/sh", "-c", "echo one\necho two\n"])),
            "RUN |4 A=cli NOVAL= C=1 D=2 /bin/sh -c echo one\necho two\n # buildkit"
        );
    }

    #[test]
    fn copy_and_add_show_owner_and_mode_only() {
        let none = CopyFlags::default();
        assert_eq!(copy(none, &words(&["src.txt", "d"]), "/dst/"), "COPY src.txt d /dst/ # buildkit");
        assert_eq!(copy(none, &words(&["src.txt", "d"]), "/with space/"), "COPY src.txt d /with space/ # buildkit");
        assert_eq!(copy(none, &words(&["src.txt*", "./d/"]), "./z/"), "COPY src.txt* ./d/ ./z/ # buildkit");
        let flags = CopyFlags { chown: Some("1:2"), chmod: Some("644"), parents: false };
        assert_eq!(copy(flags, &words(&["src.txt"]), "dst2"), "COPY --chown=1:2 --chmod=644 src.txt dst2 # buildkit");
        assert_eq!(copy(none, &words(&["<<EOT"]), "/heredoc"), "COPY <<EOT /heredoc # buildkit");
        let flags = CopyFlags { chown: Some("3:4"), ..none };
        assert_eq!(add(flags, &words(&["src.txt"]), "/added"), "ADD --chown=3:4 src.txt /added # buildkit");
    }

    #[test]
    fn values_are_shown_without_quotes() {
        assert_eq!(env(&pairs(&[("E", "f"), ("G", "h i")])), "ENV E=f G=h i");
        assert_eq!(env(&pairs(&[("S", "a'b"), ("T", "a b")])), "ENV S=a'b T=a b");
        assert_eq!(label(&pairs(&[("a", "x\"y"), ("b", "$c")])), "LABEL a=x\"y b=$c");
        let args =
            [("C".to_owned(), Some("1".to_owned())), ("D".to_owned(), None), ("W".to_owned(), Some(String::new()))];
        assert_eq!(arg(&args), "ARG C=1 D W=");
        assert_eq!(workdir("/app/sub"), "WORKDIR /app/sub");
        assert_eq!(user("nobody:nogroup"), "USER nobody:nogroup");
        assert_eq!(stopsignal("SIGUSR1"), "STOPSIGNAL SIGUSR1");
        assert_eq!(maintainer("me <me@x>"), "MAINTAINER me <me@x>");
        assert!(!workdir_makes_layer("/") && workdir_makes_layer("/bin"));
    }

    #[test]
    fn lists_and_maps_look_as_go_prints_them() {
        let ports = words(&["443/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(expose(&ports), "EXPOSE map[443/udp:{} 80/tcp:{} 8000/tcp:{} 8001/tcp:{}]");
        assert_eq!(expose(&words(&["9/tcp", "53/udp", "53/tcp"])), "EXPOSE map[53/tcp:{} 53/udp:{} 9/tcp:{}]");
        assert_eq!(volume(&words(&["/v1", "/v2"])), "VOLUME [/v1 /v2]");
        assert_eq!(shell(&words(&["/bin/ash", "-e", "-c"])), "SHELL [/bin/ash -e -c]");
        assert_eq!(cmd(&words(&["a", "b\"c", "é<&"])), r#"CMD ["a" "b\"c" "é<&"]"#);
        assert_eq!(cmd(&words(&["/bin/ash", "-e", "-c", "echo \"d\""])), r#"CMD ["/bin/ash" "-e" "-c" "echo \"d\""]"#);
        assert_eq!(cmd(&[]), "CMD []");
        assert_eq!(entrypoint(&words(&["/bin/e", "x y"])), r#"ENTRYPOINT ["/bin/e" "x y"]"#);
    }

    #[test]
    fn healthcheck_is_a_structure_whose_last_number_is_quoted_as_a_character() {
        let seconds = |seconds: i64| seconds * 1_000_000_000;
        let full = Healthcheck {
            test: words(&["CMD-SHELL", "wget -q x || exit 1"]),
            interval: seconds(5),
            timeout: seconds(60),
            start_period: seconds(2),
            start_interval: seconds(1),
            retries: 3,
        };
        let expected = r#"HEALTHCHECK &{["CMD-SHELL" "wget -q x || exit 1"] "5s" "1m0s" "2s" "1s" '\x03'}"#;
        assert_eq!(healthcheck(&full), expected);
        let none = Healthcheck { test: words(&["NONE"]), ..Healthcheck::default() };
        assert_eq!(healthcheck(&none), r#"HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\x00'}"#);
        let many = Healthcheck { test: words(&["CMD-SHELL", "x y"]), retries: 65, ..Healthcheck::default() };
        assert_eq!(healthcheck(&many), r#"HEALTHCHECK &{["CMD-SHELL" "x y"] "0s" "0s" "0s" "0s" 'A'}"#);
        let long = Healthcheck { interval: seconds(5400), timeout: 3_723_004_000_000, ..none };
        assert_eq!(healthcheck(&long), r#"HEALTHCHECK &{["NONE"] "1h30m0s" "1h2m3.004s" "0s" "0s" '\x00'}"#);
    }

    #[test]
    fn quotes_and_durations_follow_go_in_the_corners_too() {
        assert_eq!(
            cmd(&words(&["\u{7}\n\u{1}\u{7f}\u{a0}\u{2028}e\u{301}😀\u{e0001}\\'"])),
            "CMD [\"\\a\\n\\x01\\x7f\\u00a0\\u2028e\u{301}😀\\U000e0001\\\\'\"]"
        );
        let durations =
            [(1, "1ns"), (1_500, "1.5µs"), (20_000_000, "20ms"), (1_500_000_000, "1.5s"), (-90_000_000_000, "-1m30s")];
        for (nanos, text) in durations {
            assert_eq!(go_duration(nanos), text);
        }
    }
}
