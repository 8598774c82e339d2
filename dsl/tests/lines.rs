//! The rules of lines, one by one: each text with what BuildKit's parser makes of it.
//!
//! The expectations were taken from BuildKit 0.32 and are written as `KEYWORD first-last {flag} "value" heredoc`.
//! Where kiln differs on purpose, `docs/language.md` says so under "Choices", and the case stands in a test of its own.

use kiln_dsl::diagnostic::Severity;
use kiln_dsl::parser::{self, RawInstruction};
use std::fmt::Write as _;

fn instruction(read: &RawInstruction) -> String {
    let mut text = read.cmd.clone();
    let mut add = |args: std::fmt::Arguments<'_>| text.write_fmt(args).expect("memory");
    if let Some(sub) = &read.sub {
        add(format_args!(" {sub}"));
    }
    add(format_args!(" {}-{}", read.first_line, read.last_line));
    if read.json {
        add(format_args!(" json"));
    }
    if read.legacy {
        add(format_args!(" legacy"));
    }
    for flag in if read.sub.is_some() { &read.sub_flags } else { &read.flags } {
        add(format_args!(" {{{flag}}}"));
    }
    for value in &read.value {
        add(format_args!(" {value:?}"));
    }
    for heredoc in &read.heredocs {
        let (dash, raw) = (if heredoc.chomp { "-" } else { "" }, if heredoc.expand { "" } else { " raw" });
        add(format_args!(" {}<<{dash}{}{raw} {:?}", heredoc.descriptor, heredoc.name, heredoc.content));
    }
    text
}

fn read(text: &str) -> String {
    let parsed = parser::parse_raw(text);
    if parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return "error".to_owned();
    }
    parsed.instructions.iter().map(instruction).collect::<Vec<_>>().join("; ")
}

fn agrees(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, want)| (text, read(text), want))
        .filter(|(_, got, want)| got != *want)
        .map(|(text, got, want)| format!("{text:?}\n  want {want}\n  got  {got}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn escape_characters_at_the_end_of_a_line_continue_it() {
    agrees(&[
        ("RUN a \\\n  b", "RUN 1-2 \"a   b\""),
        ("RUN a \\  \t\n  b", "RUN 1-2 \"a   b\""),
        ("RUN a \\\\\nUSER b", "RUN 1-1 \"a \\\\\\\\\"; USER 2-2 \"b\""),
        ("RUN a \\\\\\\nUSER b", "RUN 1-1 \"a \\\\\\\\\\\\\"; USER 2-2 \"b\""),
        ("RUN \\\n\\\n\\\na", "RUN 1-4 \"a\""),
        ("RUN a\\\u{b}\nUSER b", "RUN 1-1 \"a\\\\\"; USER 2-2 \"b\""),
        ("\\\nRUN a", "RUN 1-2 \"a\""),
        ("RUN a\\\n", "RUN 1-1 \"a\""),
        ("RUN a\\", "RUN 1-1 \"a\""),
        ("RUN a\\\n\\", "RUN 1-2 \"a\""),
        ("R\\\nUN a", "RUN 1-2 \"a\""),
        ("RU\\\n  N a", "RU 1-2 \"\""),
        ("RUN a \\\r\n b\r\n", "RUN 1-2 \"a  b\""),
        ("COPY a\\ b\\\n c", "COPY 1-2 \"a\\\\\" \"b\" \"c\""),
        ("RUN a \\ \n\n\n b", "RUN 1-4 \"a  b\""),
        ("RUN a\\\n\\\nUSER b", "RUN 1-3 \"aUSER b\""),
    ]);
}

#[test]
fn comments_and_empty_lines_inside_an_instruction_are_dropped() {
    agrees(&[
        ("RUN a \\\n# c\n b", "RUN 1-3 \"a  b\""),
        ("RUN a \\\n   # c \\\n b", "RUN 1-3 \"a  b\""),
        ("RUN a \\\n\n b", "RUN 1-3 \"a  b\""),
        ("RUN a \\\n \t \n b", "RUN 1-3 \"a  b\""),
        ("RUN a \\\n# c", "RUN 1-2 \"a\""),
        ("RUN a \\\n# c\nUSER b", "RUN 1-3 \"a USER b\""),
        ("RUN a # no comment \\\n b", "RUN 1-2 \"a # no comment  b\""),
        ("RUN a \\\n b # c\nUSER d", "RUN 1-2 \"a  b # c\"; USER 3-3 \"d\""),
        ("# c \\\nRUN a", "RUN 2-2 \"a\""),
        ("RUN a \\\n\\\n# c\n\\\n b", "RUN 1-5 \"a  b\""),
        ("ENV a=1 \\\n # x\n b=2 \\\n\n c=3", "ENV 1-5 \"a\" \"1\" \"b\" \"2\" \"c\" \"3\""),
    ]);
}

#[test]
fn a_hash_begins_a_comment_only_at_the_start_of_a_line() {
    agrees(&[
        ("  # c\nRUN a", "RUN 2-2 \"a\""),
        ("\t#c\nRUN #a", "RUN 2-2 \"#a\""),
        ("USER a#b", "USER 1-1 \"a#b\""),
        ("USER # c", "USER 1-1 \"# c\""),
        ("ENV a=# b=c", "ENV 1-1 \"a\" \"#\" \"b\" \"c\""),
        ("COPY # a", "COPY 1-1 \"#\" \"a\""),
        ("EXPOSE 80 # http", "EXPOSE 1-1 \"80\" \"#\" \"http\""),
        ("#", "error"),
        ("RUN #", "RUN 1-1 \"#\""),
        ("LABEL a=\"#\" #=b", "LABEL 1-1 \"a\" \"\\\"#\\\"\" \"#\" \"b\""),
    ]);
}

#[test]
fn keywords_stand_in_any_case_behind_any_blanks() {
    agrees(&[
        ("  run a", "run 1-1 \"a\""),
        ("\u{a0}RUN a", "RUN 1-1 \"a\""),
        ("\u{3000}RUN a", "RUN 1-1 \"a\""),
        ("RUN\ta", "RUN 1-1 \"a\""),
        ("RUN\u{b}a", "RUN 1-1 \"a\""),
        ("RUN\u{c}a", "RUN 1-1 \"a\""),
        ("RUN\u{a0}a", "RUN\u{a0}a 1-1 \"\""),
        ("RUN", "RUN 1-1"),
        ("run", "run 1-1"),
        ("fRoM a aS b", "fRoM 1-1 \"a\" \"aS\" \"b\""),
        ("RUN  a  ", "RUN 1-1 \"a\""),
        ("RUN a\u{a0}", "RUN 1-1 \"a\""),
        ("UNKNOWN a b", "UNKNOWN 1-1 \"\""),
        ("RUN\\ a", "RUN\\ 1-1 \"\""),
        ("\"RUN\" a", "\"RUN\" 1-1 \"\""),
        ("RUN\ra", "RUN 1-1 \"a\""),
    ]);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_dropped() {
    agrees(&[
        ("\u{feff}RUN a", "RUN 1-1 \"a\""),
        ("\u{feff}# escape=`\nRUN a`\n b", "RUN 2-3 \"a b\""),
        ("\u{feff}\nRUN a", "RUN 2-2 \"a\""),
        ("RUN a\r\nUSER b\r\r\n", "RUN 1-1 \"a\"; USER 2-2 \"b\""),
        ("RUN a\rb", "RUN 1-1 \"a\\rb\""),
        ("RUN a\n\u{feff}RUN b", "RUN 1-1 \"a\"; \u{feff}RUN 2-2 \"\""),
        ("\r\nRUN a", "RUN 2-2 \"a\""),
        ("RUN <<E\r\na\r\nE\r\nUSER b", "RUN 1-3 \"<<E\" 0<<E \"a\\r\\n\"; USER 4-4 \"b\""),
        ("\u{feff}\u{feff}RUN a", "\u{feff}RUN 1-1 \"\""),
    ]);
}

#[test]
fn directives_stand_before_everything_else() {
    agrees(&[
        ("# escape=`\nRUN a`\n b", "RUN 2-3 \"a b\""),
        ("# ESCAPE=`\nRUN a`\n b", "RUN 2-3 \"a b\""),
        ("#escape=`\nRUN a`\n b", "RUN 2-3 \"a b\""),
        ("#\tescape\t=\t`\t\nRUN a`\n b", "RUN 2-3 \"a b\""),
        ("  # escape=`\nRUN a`\n b", "RUN 2-3 \"a b\""),
        ("\n# escape=`\nRUN a`\nUSER b", "RUN 3-3 \"a`\"; USER 4-4 \"b\""),
        ("# c\n# escape=`\nRUN a`\nUSER b", "RUN 3-3 \"a`\"; USER 4-4 \"b\""),
        ("# a=b\n# escape=`\nRUN a`\nUSER b", "RUN 3-3 \"a`\"; USER 4-4 \"b\""),
        ("# syntax=x\n# escape=`\nRUN a`\n b", "RUN 3-4 \"a b\""),
        ("# check=skip=all\n# syntax=x\n# escape=`\nRUN a`\n b", "RUN 4-5 \"a b\""),
        ("# escape=\\\nRUN a\\\n b", "RUN 2-3 \"a b\""),
        ("# escape=x\nRUN a", "error"),
        ("# escape=``\nRUN a", "error"),
        ("# escape=\nRUN a\\\n b", "RUN 2-3 \"a b\""),
        ("# escape=`\n# escape=`\nRUN a", "error"),
        ("# syntax=a\n# syntax=b\nRUN a", "error"),
        ("# escape=`\nRUN a\\\nUSER b", "RUN 2-2 \"a\\\\\"; USER 3-3 \"b\""),
        ("#!/usr/bin/x\n# escape=`\nRUN a`\nUSER b", "RUN 3-3 \"a`\"; USER 4-4 \"b\""),
        ("RUN a\n# escape=`\nRUN a\\\n b", "RUN 1-1 \"a\"; RUN 3-4 \"a b\""),
        ("# escape=` x\nRUN a", "error"),
        ("# es1cape=`\n# escape=`\nRUN a\\\n b", "RUN 3-4 \"a b\""),
        ("#\n# escape=`\nRUN a`\nUSER b", "RUN 3-3 \"a`\"; USER 4-4 \"b\""),
    ]);
}

#[test]
fn the_escape_character_of_a_directive_counts_everywhere_but_in_heredoc_words() {
    agrees(&[
        ("# escape=`\nRUN --x=`  a", "RUN 2-2 {--x= } \"a\""),
        ("# escape=`\nENV a=b` c d=\\", "ENV 2-2 \"a\" \"b` c\" \"d\" \"\\\\\""),
        ("# escape=`\nCOPY C:\\a D:\\", "COPY 2-2 \"C:\\\\a\" \"D:\\\\\""),
        ("# escape=`\nRUN <<`E\n`E\n", "RUN 2-3 \"<<`E\" 0<<`E \"\""),
        ("# escape=`\nENV a=\"b`\"c\"", "ENV 2-2 \"a\" \"\\\"b`\\\"c\\\"\""),
        ("# escape=`\nARG a=b` c", "ARG 2-2 \"a=b` c\""),
    ]);
}

#[test]
fn flags_end_at_the_first_word_without_dashes_or_at_two_dashes() {
    agrees(&[
        ("RUN --a --b=c d --e", "RUN 1-1 {--a} {--b=c} \"d --e\""),
        ("COPY -- --a b", "COPY 1-1 \"--a\" \"b\""),
        ("COPY --a -- b", "COPY 1-1 {--a} \"b\""),
        ("COPY -a b", "COPY 1-1 \"-a\" \"b\""),
        ("COPY - b", "COPY 1-1 \"-\" \"b\""),
        ("COPY --a", "COPY 1-1 {--a}"),
        ("COPY --", "COPY 1-1"),
        ("COPY --- b", "COPY 1-1 {---} \"b\""),
        ("RUN --a=\"b c\" d", "RUN 1-1 {--a=b c} \"d\""),
        ("RUN --a='b c' d", "RUN 1-1 {--a=b c} \"d\""),
        ("RUN --a=b\\ c d", "RUN 1-1 {--a=b c} \"d\""),
        ("RUN \"--a\" b", "RUN 1-1 \"\\\"--a\\\" b\""),
        ("RUN --a=\"b", "RUN 1-1 {--a=b}"),
        ("RUN --a=b\\", "RUN 1-1 {--a=b}"),
        ("RUN --a=''  d", "RUN 1-1 {--a=} \"d\""),
        ("RUN --a=\"b\\\"c\" d", "RUN 1-1 {--a=b\"c} \"d\""),
        ("RUN --a\t--b\\\n --c d", "RUN 1-2 {--a} {--b} {--c} \"d\""),
        ("FROM --platform=a b", "FROM 1-1 {--platform=a} \"b\""),
        ("UNKNOWN --a b", "UNKNOWN 1-1 {--a} \"\""),
        ("HEALTHCHECK --a=b NONE", "HEALTHCHECK 1-1 {--a=b} \"NONE\""),
        ("ENV --a b=c", "ENV 1-1 {--a} \"b\" \"c\""),
        ("ONBUILD --a RUN --b c", "ONBUILD RUN 1-1 {--b} \"c\""),
        ("RUN -- a", "RUN 1-1 \"a\""),
        ("RUN --a -- --b", "RUN 1-1 {--a} \"--b\""),
    ]);
}

#[test]
fn json_arrays_are_taken_where_they_may_stand() {
    agrees(&[
        ("RUN [\"a\", \"b\"]", "RUN 1-1 json \"a\" \"b\""),
        ("RUN  [ \"a\" ,\t\"b\" ]  ", "RUN 1-1 json \"a\" \"b\""),
        ("RUN []", "RUN 1-1 json"),
        ("RUN [ ]", "RUN 1-1 json"),
        ("RUN ['a']", "RUN 1-1 \"['a']\""),
        ("RUN [\"a\",]", "RUN 1-1 \"[\\\"a\\\",]\""),
        ("RUN [\"a\"", "RUN 1-1 \"[\\\"a\\\"\""),
        ("RUN [a]", "RUN 1-1 \"[a]\""),
        ("RUN [", "RUN 1-1 \"[\""),
        ("RUN [\"a\", 1]", "error"),
        ("RUN [null]", "error"),
        ("RUN [[\"a\"]]", "error"),
        ("RUN [\"\\u00e9\\n\\\"\\\\\"]", "RUN 1-1 json \"é\\n\\\"\\\\\""),
        ("RUN [\"a\\\n\", \"b\"]", "RUN 1-2 json \"a\" \"b\""),
        ("RUN [\"a\", \\\n# c\n \"b\"]", "RUN 1-3 json \"a\" \"b\""),
        ("CMD [\"a\"]", "CMD 1-1 json \"a\""),
        ("ENTRYPOINT [\"a\"]", "ENTRYPOINT 1-1 json \"a\""),
        ("SHELL [\"a\"]", "SHELL 1-1 json \"a\""),
        ("COPY [\"a b\", \"c\"]", "COPY 1-1 json \"a b\" \"c\""),
        ("ADD [\"a\", \"b\"]", "ADD 1-1 json \"a\" \"b\""),
        ("VOLUME [\"a\"]", "VOLUME 1-1 json \"a\""),
        ("VOLUME []", "VOLUME 1-1 json"),
        ("HEALTHCHECK CMD [\"a\", \"b\"]", "HEALTHCHECK 1-1 json \"CMD\" \"a\" \"b\""),
        ("HEALTHCHECK cmd [\"a\", 1]", "error"),
        ("HEALTHCHECK NONE [\"a\"]", "HEALTHCHECK 1-1 json \"NONE\" \"a\""),
        ("ONBUILD RUN [\"a\"]", "ONBUILD RUN 1-1 json \"a\""),
        ("ONBUILD RUN [\"a\", 1]", "error"),
        ("USER [\"a\"]", "USER 1-1 \"[\\\"a\\\"]\""),
        ("EXPOSE [\"a\"]", "EXPOSE 1-1 \"[\\\"a\\\"]\""),
        ("WORKDIR [\"a\"]", "WORKDIR 1-1 \"[\\\"a\\\"]\""),
        ("STOPSIGNAL [\"a\"]", "STOPSIGNAL 1-1 \"[\\\"a\\\"]\""),
        ("MAINTAINER [\"a\"]", "MAINTAINER 1-1 \"[\\\"a\\\"]\""),
        ("ENV [\"a\"]", "error"),
        ("FROM [\"a\"]", "FROM 1-1 \"[\\\"a\\\"]\""),
        ("RUN --a [\"b\"]", "RUN 1-1 json {--a} \"b\""),
        ("RUN [ \"$X\" ] && make", "RUN 1-1 \"[ \\\"$X\\\" ] && make\""),
        ("RUN [ -f x ] || y", "RUN 1-1 \"[ -f x ] || y\""),
        ("RUN [[ \"a\" ]] && b", "RUN 1-1 \"[[ \\\"a\\\" ]] && b\""),
        ("RUN [ \"a\" = \"b\" ]", "RUN 1-1 \"[ \\\"a\\\" = \\\"b\\\" ]\""),
        ("RUN \u{a0}[\"a\"]", "RUN 1-1 json \"a\""),
        ("RUN [\"\\ud800\"]", "RUN 1-1 json \"\u{fffd}\""),
        ("RUN [\"a\tb\"]", "RUN 1-1 \"[\\\"a\\tb\\\"]\""),
    ]);
}

#[test]
fn words_are_split_by_each_instructions_own_rule() {
    agrees(&[
        ("COPY \"a b\" c", "COPY 1-1 \"\\\"a\" \"b\\\"\" \"c\""),
        ("COPY a\\ b c", "COPY 1-1 \"a\\\\\" \"b\" \"c\""),
        ("EXPOSE 80\t81  82", "EXPOSE 1-1 \"80\" \"81\" \"82\""),
        ("FROM a  as   b", "FROM 1-1 \"a\" \"as\" \"b\""),
        ("FROM a as b c", "FROM 1-1 \"a\" \"as\" \"b\" \"c\""),
        ("ENV a=b c=d", "ENV 1-1 \"a\" \"b\" \"c\" \"d\""),
        ("ENV a=\"b c\" d='e f'", "ENV 1-1 \"a\" \"\\\"b c\\\"\" \"d\" \"'e f'\""),
        ("ENV a b c", "ENV 1-1 legacy \"a\" \"b c\""),
        ("ENV a  b  c ", "ENV 1-1 legacy \"a\" \"b  c\""),
        ("ENV a=b\\ c", "ENV 1-1 \"a\" \"b\\\\ c\""),
        ("ENV a", "error"),
        ("ENV a=", "ENV 1-1 \"a\" \"\""),
        ("ENV =a", "ENV 1-1 \"\" \"a\""),
        ("ENV a=b c", "error"),
        ("ENV a b=c", "ENV 1-1 legacy \"a\" \"b=c\""),
        ("ENV a==b", "ENV 1-1 \"a\" \"=b\""),
        ("ENV \"a b\"=c", "ENV 1-1 \"\\\"a b\\\"\" \"c\""),
        ("ENV a='b", "ENV 1-1 \"a\" \"'b\""),
        ("ENV a=\"b\\", "ENV 1-1 \"a\" \"\\\"b\""),
        ("LABEL a.b=c \"d e\"=f", "LABEL 1-1 \"a.b\" \"c\" \"\\\"d e\\\"\" \"f\""),
        ("LABEL a b", "LABEL 1-1 legacy \"a\" \"b\""),
        ("LABEL a", "error"),
        ("LABEL", "LABEL 1-1"),
        ("ENV", "ENV 1-1"),
        ("ARG a", "ARG 1-1 \"a\""),
        ("ARG a=b c d=\"e f\"", "ARG 1-1 \"a=b\" \"c\" \"d=\\\"e f\\\"\""),
        ("ARG a='b c", "ARG 1-1 \"a='b c\""),
        ("ARG", "ARG 1-1"),
        ("ARG a=b\\ c", "ARG 1-1 \"a=b\\\\ c\""),
        ("USER a b", "USER 1-1 \"a b\""),
        ("WORKDIR /a b", "WORKDIR 1-1 \"/a b\""),
        ("STOPSIGNAL a b", "STOPSIGNAL 1-1 \"a b\""),
        ("MAINTAINER a <b>", "MAINTAINER 1-1 \"a <b>\""),
        ("CMD a  b", "CMD 1-1 \"a  b\""),
        ("CMD", "CMD 1-1"),
        ("ENTRYPOINT", "ENTRYPOINT 1-1"),
        ("SHELL a", "SHELL 1-1 \"a\""),
        ("VOLUME a b", "VOLUME 1-1 \"a\" \"b\""),
        ("VOLUME", "VOLUME 1-1"),
        ("HEALTHCHECK", "HEALTHCHECK 1-1"),
        ("HEALTHCHECK NONE", "HEALTHCHECK 1-1 \"NONE\""),
        ("HEALTHCHECK CMD", "HEALTHCHECK 1-1 \"CMD\""),
        ("HEALTHCHECK CMD a  b", "HEALTHCHECK 1-1 \"CMD\" \"a  b\""),
        ("HEALTHCHECK none x", "HEALTHCHECK 1-1 \"none\" \"x\""),
        ("ONBUILD", "ONBUILD 1-1"),
        ("ONBUILD RUN a  b", "ONBUILD RUN 1-1 \"a  b\""),
        ("ONBUILD ENV a=b c=d", "ONBUILD ENV 1-1 \"a\" \"b\" \"c\" \"d\""),
        ("ONBUILD ENV a", "error"),
        ("ONBUILD UNKNOWN a", "ONBUILD UNKNOWN 1-1 \"\""),
        ("ONBUILD ONBUILD RUN a", "ONBUILD ONBUILD 1-1 \"\""),
        ("ENV a\u{a0}b", "error"),
        ("ENV é=中文", "ENV 1-1 \"é\" \"中文\""),
        ("COPY 中文 /é", "COPY 1-1 \"中文\" \"/é\""),
    ]);
}

#[test]
fn heredocs_follow_the_line_that_names_them() {
    agrees(&[
        ("RUN <<E\na\nE", "RUN 1-3 \"<<E\" 0<<E \"a\\n\""),
        ("RUN <<E\nE", "RUN 1-2 \"<<E\" 0<<E \"\""),
        ("RUN <<E\na\nE\nUSER b", "RUN 1-3 \"<<E\" 0<<E \"a\\n\"; USER 4-4 \"b\""),
        ("RUN <<-E\n\ta\n\tE", "RUN 1-3 \"<<-E\" 0<<-E \"\\ta\\n\""),
        ("RUN <<-E\n\ta\n  E\n\t\tE", "RUN 1-4 \"<<-E\" 0<<-E \"\\ta\\n  E\\n\""),
        ("RUN <<'E'\na\nE", "RUN 1-3 \"<<'E'\" 0<<E raw \"a\\n\""),
        ("RUN <<\"E\"\na\nE", "RUN 1-3 \"<<\\\"E\\\"\" 0<<E raw \"a\\n\""),
        ("RUN <<E\"O\"F\na\nEOF", "RUN 1-3 \"<<E\\\"O\\\"F\" 0<<EOF raw \"a\\n\""),
        ("RUN <<\\E\na\nE", "RUN 1-3 \"<<\\\\E\" 0<<E \"a\\n\""),
        ("RUN 3<<E\na\nE", "RUN 1-3 \"3<<E\" 3<<E \"a\\n\""),
        ("RUN 12<<-E cat\na\nE", "RUN 1-3 \"12<<-E cat\" 12<<-E \"a\\n\""),
        ("RUN <<A <<B\na\nA\nb\nB", "RUN 1-5 \"<<A <<B\" 0<<A \"a\\n\" 0<<B \"b\\n\""),
        ("RUN <<A cat <<A\na\nA\nb\nA", "RUN 1-5 \"<<A cat <<A\" 0<<A \"a\\n\" 0<<A \"b\\n\""),
        ("RUN cat << E\na\nE", "RUN 1-3 \"cat << E\" 0<<E \"a\\n\""),
        ("RUN cat <<E > f && b\na\nE", "RUN 1-3 \"cat <<E > f && b\" 0<<E \"a\\n\""),
        ("RUN <<E bash\na\nE", "RUN 1-3 \"<<E bash\" 0<<E \"a\\n\""),
        ("RUN <<\"E F\"\na\nE F", "RUN 1-3 \"<<\\\"E F\\\"\" 0<<E F raw \"a\\n\""),
        ("RUN <<$E\na\n$E", "RUN 1-3 \"<<$E\" 0<<$E \"a\\n\""),
        ("RUN <<${E}\na\n${E}", "RUN 1-3 \"<<${E}\" 0<<${E} \"a\\n\""),
        ("COPY <<E /f\na\nE", "COPY 1-3 \"<<E\" \"/f\" 0<<E \"a\\n\""),
        (
            "COPY <<A <<-B c /d/\na\nA\n\tb\n\tB",
            "COPY 1-5 \"<<A\" \"<<-B\" \"c\" \"/d/\" 0<<A \"a\\n\" 0<<-B \"\\tb\\n\"",
        ),
        ("ADD --chmod=1 <<E /f\na\nE", "ADD 1-3 {--chmod=1} \"<<E\" \"/f\" 0<<E \"a\\n\""),
        ("ONBUILD RUN <<E\na\nE", "ONBUILD RUN 1-3 \"<<E\" 0<<E \"a\\n\""),
        ("ONBUILD COPY <<E /f\na\nE", "ONBUILD COPY 1-3 \"<<E\" \"/f\" 0<<E \"a\\n\""),
        ("RUN <<E\n# not a comment\n\n\\\nE", "RUN 1-5 \"<<E\" 0<<E \"# not a comment\\n\\n\\\\\\n\""),
        ("RUN <<E\n E\nE ", "error"),
        ("RUN <<E\na", "error"),
        ("RUN <<E", "error"),
        ("RUN a \\\n <<E \\\n b\nc\nE", "RUN 1-5 \"a  <<E  b\" 0<<E \"c\\n\""),
        ("RUN <<E\na\nE\\\nE", "RUN 1-4 \"<<E\" 0<<E \"a\\nE\\\\\\n\""),
        ("RUN <<-'E'\n\ta\nE", "RUN 1-3 \"<<-'E'\" 0<<-E raw \"\\ta\\n\""),
        ("RUN <<1\na\n1", "RUN 1-3 \"<<1\" 0<<1 \"a\\n\""),
        ("RUN <<E.sh\na\nE.sh", "RUN 1-3 \"<<E.sh\" 0<<E.sh \"a\\n\""),
        ("RUN <<E\na\r\nE\r\n", "RUN 1-3 \"<<E\" 0<<E \"a\\r\\n\""),
        ("RUN <<E|sh\nE|sh", "RUN 1-2 \"<<E|sh\" 0<<E|sh \"\""),
    ]);
}

#[test]
fn what_only_looks_like_a_heredoc_is_none() {
    agrees(&[
        ("RUN a<<E", "RUN 1-1 \"a<<E\""),
        ("RUN <<<E", "RUN 1-1 \"<<<E\""),
        ("RUN \"<<E\"", "RUN 1-1 \"\\\"<<E\\\"\""),
        ("RUN '<<E'", "RUN 1-1 \"'<<E'\""),
        ("RUN \\<<E", "RUN 1-1 \"\\\\<<E\""),
        ("RUN <<", "RUN 1-1 \"<<\""),
        ("RUN <<-", "RUN 1-1 \"<<-\""),
        ("RUN <<\"\"", "RUN 1-1 \"<<\\\"\\\"\""),
        ("RUN [\"<<E\"]", "RUN 1-1 json \"<<E\""),
        ("CMD <<E", "CMD 1-1 \"<<E\""),
        ("ENTRYPOINT <<E", "ENTRYPOINT 1-1 \"<<E\""),
        ("USER <<E", "USER 1-1 \"<<E\""),
        ("ENV a=<<E", "ENV 1-1 \"a\" \"<<E\""),
        ("HEALTHCHECK CMD <<E", "HEALTHCHECK 1-1 \"CMD\" \"<<E\""),
        ("VOLUME <<E", "VOLUME 1-1 \"<<E\""),
        ("ONBUILD CMD <<E", "ONBUILD CMD 1-1 \"<<E\""),
        ("RUN $((1<<2))", "RUN 1-1 \"$((1<<2))\""),
        ("RUN a 'b <<E", "RUN 1-1 \"a 'b <<E\""),
        ("RUN a <<E 'b", "RUN 1-1 \"a <<E 'b\""),
        ("RUN <<A<<B", "RUN 1-1 \"<<A<<B\""),
        ("RUN x3<<E", "RUN 1-1 \"x3<<E\""),
        ("UNKNOWN <<E", "UNKNOWN 1-1 \"\""),
        ("RUN ${x:-<<E}", "RUN 1-1 \"${x:-<<E}\""),
        ("RUN echo $(cat <<E)\nE", "error"),
        ("COPY [\"<<E\", \"/f\"]", "COPY 1-1 json \"<<E\" \"/f\""),
        ("RUN # <<E", "error"),
        ("RUN 3 <<E\nE", "RUN 1-2 \"3 <<E\" 0<<E \"\""),
    ]);
}

#[test]
fn an_empty_file_and_a_file_of_comments_are_refused() {
    agrees(&[
        ("", "error"),
        ("\n", "error"),
        ("\n \n\t\n", "error"),
        ("# c", "error"),
        ("# escape=`\n", "error"),
        ("\u{feff}", "error"),
        ("\r\n", "error"),
        ("# c\n\n#\n", "error"),
        ("\\\n", " 1-1 \"\""),
        ("\\\n\n", " 1-2 \"\""),
        ("\u{a0}", "error"),
    ]);
}

#[test]
fn comments_inside_a_file_do_not_shift_its_lines() {
    agrees(&[
        ("# a\n\n# b\nRUN a\n\n\nRUN b\\\n\\\n c\n# d\nUSER e\n", "RUN 4-4 \"a\"; RUN 7-9 \"b c\"; USER 11-11 \"e\""),
        ("\n\nRUN <<A <<B\nx\nA\n\nB\n\nUSER c", "RUN 3-7 \"<<A <<B\" 0<<A \"x\\n\" 0<<B \"\\n\"; USER 9-9 \"c\""),
        ("RUN a\\\n\n# x\n\n b\n\n\nUSER c", "RUN 1-5 \"a b\"; USER 8-8 \"c\""),
    ]);
}

#[test]
fn text_behind_an_array_is_dropped_unless_only_a_shell_can_mean_it() {
    agrees(&[
        (r#"CMD ["a"] # c"#, r#"CMD 1-1 json "a""#),
        (r#"CMD ["a", "b"]]"#, r#"CMD 1-1 json "a" "b""#),
        (r#"VOLUME ["/a"] /b"#, r#"VOLUME 1-1 json "/a""#),
        (r#"COPY ["a", "b"] # c"#, r#"COPY 1-1 json "a" "b""#),
        (r#"HEALTHCHECK CMD ["a"] # c"#, r#"HEALTHCHECK 1-1 json "CMD" "a""#),
        (r#"ONBUILD CMD ["a"] # c"#, r#"ONBUILD CMD 1-1 json "a""#),
        (r#"RUN ["a"] && b"#, r#"RUN 1-1 json "a""#),
        (r#"RUN [ "$A" ] && b"#, r#"RUN 1-1 "[ \"$A\" ] && b""#),
        (r#"RUN [ "$A" ] || b"#, r#"RUN 1-1 "[ \"$A\" ] || b""#),
        (r#"RUN [ "$A" ] ; b"#, r#"RUN 1-1 "[ \"$A\" ] ; b""#),
        (r#"RUN [ "$A" ] b"#, r#"RUN 1-1 json "$A""#),
        (r#"RUN [1] b"#, r#"RUN 1-1 "[1] b""#),
        (r#"RUN [] b"#, r#"RUN 1-1 json"#),
    ]);
}

#[test]
fn a_flag_keeps_its_characters_whatever_their_bytes() {
    agrees(&[
        ("COPY --exclude=é a b", "COPY 1-1 {--exclude=é} \"a\" \"b\""),
        ("COPY --chown=à:à a b", "COPY 1-1 {--chown=à:à} \"a\" \"b\""),
    ]);
}

#[test]
fn a_line_of_65535_bytes_is_read_and_a_longer_one_is_not_wherever_it_stands() {
    let line = |length: usize| format!("RUN {}", "x".repeat(length - 4));
    assert!(read(&line(65_535)).starts_with("RUN 1-1"));
    assert!(read(&(line(65_535) + "\nUSER a")).ends_with("USER 2-2 \"a\""));
    assert!(read(&(line(65_534) + "\r\nUSER a")).ends_with("USER 2-2 \"a\""));
    for text in [
        line(65_536),
        line(65_536) + "\n",
        line(65_535) + "\r\n",
        format!("RUN a\n# {}\nUSER b", "x".repeat(65_534)),
        format!("RUN a \\\n{}\n", "x".repeat(65_536)),
        format!("RUN <<E\n{}\nE\n", "x".repeat(65_536)),
    ] {
        assert_eq!(read(&text), "error");
    }
    // The parts of a continued line count one by one.
    assert!(read(&format!("RUN {}a", format!("{}\\\n", "x".repeat(60_000)).repeat(4))).starts_with("RUN 1-5"));
}
