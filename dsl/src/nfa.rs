//! Patterns of `*` and `?` matched by following all possibilities at once.
//!
//! A set of positions in the pattern is carried over the text, so time is the product of both lengths at worst
//! whatever the pattern is; backtracking, which regular expressions and naive globs use, can take exponential time on
//! a hostile ignore file. Knows nothing of paths or of any pattern's notation: [`crate::ignore`], [`crate::pattern`]
//! and [`crate::glob`] compile theirs to [`Token`]s.

/// A step of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    /// This character.
    Char(char),
    /// One character except this one.
    AnyBut(char),
    /// Any number of characters except this one.
    ManyBut(char),
    /// One character of a class.
    Class(Class),
    /// Nothing, or any characters except a line feed up to and including a `/`. Always followed by [`Token::Within`].
    Directories,
    /// The inside of [`Token::Directories`].
    Within,
    /// Only the start of the text stands here.
    Start,
}

/// A set of characters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Class {
    pub negated: bool,
    pub ranges: Vec<(char, char)>,
    /// Never matched, whatever the ranges say.
    pub but: Option<char>,
}

impl Class {
    pub fn contains(&self, c: char) -> bool {
        self.but != Some(c) && self.ranges.iter().any(|&(low, high)| low <= c && c <= high) != self.negated
    }
}

/// A set of positions in a pattern; up to 63 tokens need no allocation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Positions {
    low: u64,
    high: Vec<u64>,
}

impl Positions {
    fn new(tokens: usize) -> Self {
        // Positions run from 0 to the number of tokens, the accepting one.
        Positions { low: 0, high: vec![0; tokens / 64] }
    }

    fn word(&mut self, index: usize) -> Option<&mut u64> {
        if index < 64 { Some(&mut self.low) } else { self.high.get_mut(index / 64 - 1) }
    }

    fn insert(&mut self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        self.word(index).is_some_and(|word| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        })
    }

    fn contains(&self, index: usize) -> bool {
        let word = if index < 64 { self.low } else { self.high.get(index / 64 - 1).copied().unwrap_or(0) };
        word & 1 << (index % 64) != 0
    }

    fn clear(&mut self) {
        self.low = 0;
        self.high.fill(0);
    }

    pub fn is_empty(&self) -> bool {
        self.low == 0 && self.high.iter().all(|&word| word == 0)
    }

    /// The number of words in use, and the word at an index.
    fn words(&self) -> usize {
        1 + self.high.len()
    }

    fn word_at(&self, index: usize) -> u64 {
        if index == 0 { self.low } else { self.high.get(index - 1).copied().unwrap_or(0) }
    }
}

/// A run of a pattern over a text, character by character.
#[derive(Clone, Debug)]
pub(crate) struct Run<'p> {
    tokens: &'p [Token],
    now: Positions,
    next: Positions,
}

impl<'p> Run<'p> {
    /// At the start of the text.
    pub fn new(tokens: &'p [Token]) -> Self {
        let mut run = Run { tokens, now: Positions::new(tokens.len()), next: Positions::new(tokens.len()) };
        let mut now = std::mem::take(&mut run.now);
        run.enter(&mut now, 0, true);
        run.now = now;
        run
    }

    /// Without any position: nothing matches until [`Run::restart`].
    pub fn idle(tokens: &'p [Token]) -> Self {
        Run { tokens, now: Positions::new(tokens.len()), next: Positions::new(tokens.len()) }
    }

    /// Lets a match begin here too.
    pub fn restart(&mut self) {
        let mut now = std::mem::take(&mut self.now);
        self.enter(&mut now, 0, false);
        self.now = now;
    }

    /// Adds `index` and what can be reached from it without a character.
    fn enter(&self, set: &mut Positions, mut index: usize, at_start: bool) {
        while set.insert(index) {
            match self.tokens.get(index) {
                Some(Token::ManyBut(_)) => index += 1,
                Some(Token::Directories) => {
                    set.insert(index + 1);
                    index += 2;
                }
                Some(Token::Start) if at_start => index += 1,
                _ => break,
            }
        }
    }

    /// Reads a character.
    pub fn step(&mut self, c: char) {
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        for at in 0..self.now.words() {
            let mut word = self.now.word_at(at);
            while word != 0 {
                let index = at * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                self.advance(&mut next, index, c);
            }
        }
        self.next = std::mem::replace(&mut self.now, next);
    }

    /// Adds where the token at `index` leads with `c`.
    fn advance(&self, next: &mut Positions, index: usize, c: char) {
        match self.tokens.get(index) {
            Some(Token::Char(wanted)) if *wanted == c => self.enter(next, index + 1, false),
            Some(Token::AnyBut(not)) if *not != c => self.enter(next, index + 1, false),
            Some(Token::ManyBut(not)) if *not != c => self.enter(next, index, false),
            Some(Token::Class(class)) if class.contains(c) => self.enter(next, index + 1, false),
            Some(Token::Directories) if c != '\n' => self.within(next, index + 1, c),
            Some(Token::Within) if c != '\n' => self.within(next, index, c),
            _ => {}
        }
    }

    fn within(&self, next: &mut Positions, index: usize, c: char) {
        next.insert(index);
        if c == '/' {
            self.enter(next, index + 1, false);
        }
    }

    /// Whether what was read so far is a match.
    pub fn accepts(&self) -> bool {
        self.now.contains(self.tokens.len())
    }

    /// Whether no continuation can match any more.
    pub fn is_dead(&self) -> bool {
        self.now.is_empty()
    }
}

/// The characters of a path that need not be UTF-8: each stray byte counts as U+FFFD.
pub(crate) fn chars(path: &[u8]) -> impl Iterator<Item = char> {
    path.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().chain(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()))
    })
}
