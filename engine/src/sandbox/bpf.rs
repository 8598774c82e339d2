//! A small assembler for the classic BPF programs that seccomp takes: one decision by a number, as a
//! search tree, so that a call passes about ten instructions rather than a hundred.
//!
//! Kiln's own because the usual crate kills on a foreign ABI and cannot treat two in one program.
//! Knows nothing of which system calls are harmful.

/// One instruction, with the layout of `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// The offset of an argument's lower half, on a processor that has it first.
const fn argument(index: u32) -> u32 {
    FIRST_ARGUMENT + 8 * index
}

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_TELL: u32 = 0x7fc0_0000;

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// It goes through.
    Allow,
    /// It answers this errno.
    Refuse(u16),
    /// It answers the errno if its first argument has any of these bits, and else goes through.
    RefuseBits(u32, u16),
    /// It answers the errno if its first argument is this, and else goes through.
    RefuseValue(u32, u16),
    /// It goes through if its first argument is one of these, and else answers the errno.
    AllowValues(&'static [u32], u16),
    /// The builder is told and lets it go on.
    Tell,
    /// It goes through if its first argument is one of these, answers the errno if it is that one, and
    /// the builder is told else.
    TellBut(&'static [u32], u32, u16),
    /// It goes through if its argument with this index is this, and else the builder is told.
    TellUnless(u32, u32),
    /// It answers the errno if its argument with this index is this, and else goes through.
    RefuseIf(u32, u32, u16),
}

/// The rules for one ABI: single numbers, all that are not named go through up to `last`; what is
/// newer than that answers `ENOSYS`, as if the kernel did not have it.
pub(super) struct Table {
    /// `AUDIT_ARCH_*`.
    pub(super) architecture: u32,
    pub(super) rules: Vec<(u32, Rule)>,
    /// The last number whose meaning is known.
    pub(super) last: u32,
}

/// A program for several ABIs; a call by any other answers `ENOSYS`.
pub(super) fn assemble(tables: &[Table]) -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    for table in tables {
        let mut body = vec![load(NUMBER)];
        body.extend(tree(&intervals(table)));
        program.extend(unless(JUMP_EQUAL, table.architecture, &body));
    }
    program.push(ret(RET_ERRNO | ENOSYS));
    program
}

const ENOSYS: u32 = libc::ENOSYS as u32;

fn intervals(table: &Table) -> Vec<(u32, Rule)> {
    let mut rules = table.rules.clone();
    rules.sort_by_key(|(number, _)| *number);
    let mut all = vec![(0, Rule::Allow)];
    let push = |start: u32, rule: Rule, all: &mut Vec<(u32, Rule)>| match all.last_mut() {
        Some(last) if last.0 == start => last.1 = rule,
        Some(last) if last.1 == rule => {}
        _ => all.push((start, rule)),
    };
    for (number, rule) in rules {
        push(number, rule, &mut all);
        push(number + 1, Rule::Allow, &mut all);
    }
    push(table.last + 1, Rule::Refuse(libc::ENOSYS as u16), &mut all);
    all
}

/// Decides by the number in the accumulator. Each interval reaches to the next one's start.
fn tree(intervals: &[(u32, Rule)]) -> Vec<Instruction> {
    match intervals {
        [] => Vec::new(),
        [(_, rule)] => leaf(*rule),
        _ => {
            let (low, high) = intervals.split_at(intervals.len() / 2);
            // `low` is not empty and `high` has an entry, since there are two or more.
            let start = high.first().map_or(u32::MAX, |(start, _)| *start);
            let mut program = when_below(start, &tree(low));
            program.extend(tree(high));
            program
        }
    }
}

/// `body` if the accumulator is below `start`; jumps over it otherwise.
fn when_below(start: u32, body: &[Instruction]) -> Vec<Instruction> {
    let mut program = match u8::try_from(body.len()) {
        Ok(length) => vec![Instruction { code: JUMP_AT_LEAST, if_true: length, if_false: 0, operand: start }],
        Err(_) => {
            vec![Instruction { code: JUMP_AT_LEAST, if_true: 0, if_false: 1, operand: start }, jump(body.len())]
        }
    };
    program.extend_from_slice(body);
    program
}

/// `body` if the comparison holds; jumps over it otherwise.
fn unless(code: u16, operand: u32, body: &[Instruction]) -> Vec<Instruction> {
    let mut program = vec![Instruction { code, if_true: 1, if_false: 0, operand }, jump(body.len())];
    program.extend_from_slice(body);
    program
}

fn leaf(rule: Rule) -> Vec<Instruction> {
    let test = |code, operand| Instruction { code, if_true: 0, if_false: 1, operand };
    let refuse = |errno: u16| ret(RET_ERRNO | u32::from(errno));
    match rule {
        Rule::Allow => vec![ret(RET_ALLOW)],
        Rule::Refuse(errno) => vec![refuse(errno)],
        Rule::RefuseBits(bits, errno) => {
            vec![load(FIRST_ARGUMENT), test(JUMP_ANY_BIT, bits), refuse(errno), ret(RET_ALLOW)]
        }
        Rule::RefuseValue(value, errno) => {
            vec![load(FIRST_ARGUMENT), test(JUMP_EQUAL, value), refuse(errno), ret(RET_ALLOW)]
        }
        Rule::AllowValues(values, errno) => {
            let mut program = vec![load(FIRST_ARGUMENT)];
            program.extend(values.iter().flat_map(|value| [test(JUMP_EQUAL, *value), ret(RET_ALLOW)]));
            program.push(refuse(errno));
            program
        }
        Rule::Tell => vec![ret(RET_TELL)],
        Rule::TellBut(passed, refused, errno) => {
            let mut program = vec![load(FIRST_ARGUMENT), test(JUMP_EQUAL, refused), refuse(errno)];
            program.extend(passed.iter().flat_map(|value| [test(JUMP_EQUAL, *value), ret(RET_ALLOW)]));
            program.push(ret(RET_TELL));
            program
        }
        Rule::TellUnless(index, value) => {
            vec![load(argument(index)), test(JUMP_EQUAL, value), ret(RET_ALLOW), ret(RET_TELL)]
        }
        Rule::RefuseIf(index, value, errno) => {
            vec![load(argument(index)), test(JUMP_EQUAL, value), refuse(errno), ret(RET_ALLOW)]
        }
    }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD_WORD, if_true: 0, if_false: 0, operand: offset }
}

fn ret(value: u32) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, operand: value }
}

fn jump(over: usize) -> Instruction {
    Instruction { code: JUMP, if_true: 0, if_false: 0, operand: u32::try_from(over).unwrap_or(u32::MAX) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What [`run`] answers for a call of which the builder is told.
    pub(in super::super) const TOLD: u32 = u32::MAX;

    /// Runs a program as the kernel would, all arguments the same; the errno it answers, or `None` where
    /// the call goes through.
    pub(in super::super) fn run(program: &[Instruction], architecture: u32, number: u32, argument: u32) -> Option<u32> {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, operand } = program[at];
            at += 1;
            let holds = match code {
                LOAD_WORD => {
                    accumulator = match operand {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT..56 => argument,
                        _ => panic!("loads from {operand}"),
                    };
                    continue;
                }
                JUMP => {
                    at += operand as usize;
                    continue;
                }
                RETURN if operand == RET_ALLOW => return None,
                RETURN if operand == RET_TELL => return Some(TOLD),
                RETURN => return Some(operand & 0xffff),
                JUMP_EQUAL => accumulator == operand,
                JUMP_AT_LEAST => accumulator >= operand,
                JUMP_ANY_BIT => accumulator & operand != 0,
                _ => panic!("unknown code {code}"),
            };
            at += usize::from(if holds { if_true } else { if_false });
        }
    }

    proptest! {
        #[test]
        fn a_program_decides_as_its_tables_say(
            first in proptest::collection::btree_set(0u32..500, 0..200),
            second in proptest::collection::btree_set(0u32..500, 0..20),
            number in 0u32..520,
        ) {
            let table = |architecture, refused: &std::collections::BTreeSet<u32>| Table {
                architecture,
                rules: refused.iter().map(|number| (*number, Rule::Refuse(1))).collect(),
                last: 500,
            };
            let program = assemble(&[table(7, &first), table(8, &second)]);
            for (architecture, refused) in [(7, &first), (8, &second)] {
                let expected = if number > 500 { Some(ENOSYS) } else { refused.contains(&number).then_some(1) };
                prop_assert_eq!(run(&program, architecture, number, 0), expected);
            }
            prop_assert_eq!(run(&program, 9, number, 0), Some(ENOSYS));
        }
    }

    #[test]
    fn an_argument_decides_where_a_rule_asks_for_it() {
        let rules =
            vec![(1, Rule::RefuseBits(0b110, 1)), (2, Rule::RefuseValue(40, 1)), (3, Rule::AllowValues(&[0, 8], 1))];
        let program = assemble(&[Table { architecture: 7, rules, last: 9 }]);
        let verdicts = |number| [0, 4, 8, 40].map(|argument| run(&program, 7, number, argument).is_none());
        assert_eq!(verdicts(1), [true, false, true, true]);
        assert_eq!(verdicts(2), [true, true, true, false]);
        assert_eq!(verdicts(3), [true, false, true, false]);
        assert_eq!(verdicts(4), [true; 4]);
    }
}
