//! What an expression comes to: names resolved, sums done, one element for each thing to look at.
//!
//! Pure. Names are bound once, before they are used; each is resolved where it is bound, so that the work is in
//! proportion to the text however names build on each other.

use super::ast::{Atom, Expr, Factor, Normaliser, Sign, Term};
use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Spanned};
use crate::suggest;
use std::collections::{BTreeSet, HashMap};

/// How many elements a key can have: more are no key that anybody reads, and each is looked at in every build.
const MAX_ELEMENTS: usize = 256;

/// A key as a set of elements, in the order in which they were first written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeySet {
    /// What the key consists of.
    pub elements: Vec<Element>,
    /// What is taken out of `default` or `traced`, which are elements: `parent`, or one name of `env` or `arg`.
    pub without: Vec<Element>,
}

/// One thing to look at. Of an atom with several selectors or names, each is an element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// The atom.
    pub atom: Atom,
    /// How it is looked at, sorted, each once.
    pub normalisers: Vec<Normaliser>,
    /// Whether it need not be there.
    pub optional: bool,
    /// Its text form, in which equal elements are equal wherever they were written.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}

impl Element {
    fn new(atom: Atom, normalisers: Vec<Normaliser>, span: Span) -> Self {
        let mut text = atom.to_string();
        for normaliser in &normalisers {
            text += &format!(" | {}", normaliser.word());
        }
        Element { atom, normalisers, optional: false, text, span }
    }
}

impl KeySet {
    /// Whether this atom, one without arguments, is in it.
    pub fn has(&self, atom: &Atom) -> bool {
        self.elements.iter().any(|element| element.atom == *atom)
    }

    /// `always` and `never` decide alone.
    fn check(&self) -> Result<(), Box<Diagnostic>> {
        let alone = self.elements.iter().find(|element| matches!(element.atom, Atom::Always | Atom::Never));
        let (Some(alone), 2..) = (alone, self.elements.len()) else { return Ok(()) };
        let word = alone.atom.word();
        let error =
            Diagnostic::error("InvalidKey", alone.span, format!("{word} stands alone: nothing else would count"));
        let help = match alone.atom {
            Atom::Always => "leave the rest out: the step runs in every build",
            _ => "leave never out: the step runs again only where the rest changes",
        };
        Err(Box::new(error.with_help(help)))
    }
}

/// A set while terms join and leave it.
#[derive(Default)]
struct Sum {
    /// In their order; `None` where one was taken out.
    elements: Vec<Option<Element>>,
    /// Where the element with a text is.
    places: HashMap<String, usize>,
    without: Vec<Element>,
}

impl Sum {
    fn has(&self, atom: &Atom) -> bool {
        self.places.contains_key(&atom.to_string())
    }

    /// Adds an element; one that must be there wins over the same one that need not.
    fn add(&mut self, element: Element) {
        self.without.retain(|other| other.text != element.text);
        if let Some(known) = self.places.get(&element.text).and_then(|&at| self.elements[at].as_mut()) {
            known.optional &= element.optional;
            return;
        }
        self.places.insert(element.text.clone(), self.elements.len());
        self.elements.push(Some(element));
    }

    fn join(&mut self, other: KeySet, span: Span) -> Result<(), Box<Diagnostic>> {
        other.elements.into_iter().for_each(|element| self.add(element));
        for element in other.without {
            let known = self.places.contains_key(&element.text);
            if !known && !self.without.iter().any(|other| other.text == element.text) {
                self.without.push(element);
            }
        }
        if self.places.len() > MAX_ELEMENTS {
            let message = format!("a key has at most {MAX_ELEMENTS} parts");
            return Err(Box::new(Diagnostic::error("InvalidKey", span, message).with_help("use patterns")));
        }
        Ok(())
    }

    fn remove(&mut self, element: &Element, span: Span) -> Result<(), Box<Diagnostic>> {
        if let Some(at) = self.places.remove(&element.text) {
            self.elements[at] = None;
            if !self.has(&Atom::Default) && !self.has(&Atom::Traced) {
                self.without.clear();
            }
            return Ok(());
        }
        let is_part = match element.atom {
            Atom::Env(_) | Atom::Arg(_) => self.has(&Atom::Default) || self.has(&Atom::Traced),
            Atom::Parent => self.has(&Atom::Default),
            _ => false,
        };
        if is_part {
            self.without.push(Element { span, ..element.clone() });
            return Ok(());
        }
        let message = format!("{} is not in what it is taken from", element.text);
        let error = Diagnostic::error("NotInKey", span, message);
        let texts: Vec<&str> = self.elements.iter().flatten().map(|element| element.text.as_str()).collect();
        Err(Box::new(match (&element.atom, self.has(&Atom::Traced)) {
            (Atom::Parent, true) => error.with_help("traced without the parent is no trace: write default - parent"),
            _ if texts.is_empty() => error.with_help("nothing is left to take it from"),
            _ => error.with_help(format!("that is {}", texts.join(" + "))),
        }))
    }

    fn finish(self) -> KeySet {
        KeySet { elements: self.elements.into_iter().flatten().collect(), without: self.without }
    }
}

/// The names of a file and what they come to.
#[derive(Default)]
pub struct Names {
    bound: Vec<Bound>,
    used: BTreeSet<String>,
}

struct Bound {
    name: Word,
    /// `None` where the expression is wrong, which was told.
    set: Option<KeySet>,
}

impl Names {
    /// Binds `name`. What is wrong with the expression is told, and the name counts as bound all the same.
    pub fn bind(&mut self, name: &Word, expr: Option<&Expr>, out: &mut Vec<Diagnostic>) {
        if let Some(first) = self.bound.iter().find(|other| other.name.value == name.value) {
            let error = Diagnostic::error("DuplicateKeyName", name.span, format!("{} is bound twice", name.value));
            out.push(error.with_related(first.name.span, "first bound here").with_help("give it another name"));
            return;
        }
        let set = expr.and_then(|expr| self.resolve(expr, out));
        self.bound.push(Bound { name: name.clone(), set });
    }

    /// What `expr` comes to; `None` where it is wrong, which is then among the diagnostics.
    pub fn resolve(&mut self, expr: &Expr, out: &mut Vec<Diagnostic>) -> Option<KeySet> {
        let found = self.expr(expr).and_then(|set| {
            if let Some(set) = &set {
                set.check()?;
            }
            Ok(set)
        });
        match found {
            Ok(set) => set,
            Err(diagnostic) => {
                out.push(*diagnostic);
                None
            }
        }
    }

    /// Warns of names that nothing uses.
    pub fn finish(self, out: &mut Vec<Diagnostic>) {
        let unused = |bound: &&Bound| bound.set.is_some() && !self.used.contains(&bound.name.value);
        for Bound { name, .. } in self.bound.iter().filter(unused) {
            let message = format!("the key {} is never used", name.value);
            let help = format!("write --key={} for the step that it is meant for, or remove it", name.value);
            out.push(Diagnostic::warning("UnusedKeyName", name.span, message).with_help(help));
        }
    }

    fn expr(&mut self, expr: &Expr) -> Result<Option<KeySet>, Box<Diagnostic>> {
        let mut all = Sum::default();
        for (sign, term) in &expr.terms {
            let Some(set) = self.term(term)? else { return Ok(None) };
            match sign {
                Sign::Plus => all.join(set, term.span)?,
                // What is taken out is shown where the sign's term stands, not where its name was bound.
                Sign::Minus => set.elements.iter().try_for_each(|element| all.remove(element, term.span))?,
            }
        }
        Ok(Some(all.finish()))
    }

    fn term(&mut self, term: &Term) -> Result<Option<KeySet>, Box<Diagnostic>> {
        match &term.factor {
            Factor::Group(expr) => self.expr(expr),
            Factor::Name(name) => self.name(name, term.span),
            Factor::Optional(expr) => {
                let Some(mut set) = self.expr(expr)? else { return Ok(None) };
                for element in &mut set.elements {
                    if !element.atom.can_miss() {
                        let message = format!("{} is never missing", element.atom.word());
                        let help = format!("write {} outside of optional(…)", element.text);
                        return Err(Box::new(Diagnostic::error("InvalidKey", element.span, message).with_help(help)));
                    }
                    element.optional = true;
                }
                Ok(Some(set))
            }
            Factor::Atom(atom) => {
                let mut normalisers: Vec<Normaliser> = term.normalisers.iter().map(|one| one.value).collect();
                normalisers.sort();
                let mut all = Sum::default();
                for atom in each(atom) {
                    all.add(Element::new(atom, normalisers.clone(), term.span));
                }
                Ok(Some(all.finish()))
            }
        }
    }

    fn name(&mut self, name: &str, span: Span) -> Result<Option<KeySet>, Box<Diagnostic>> {
        self.used.insert(name.to_owned());
        if let Some(bound) = self.bound.iter().find(|bound| bound.name.value == name) {
            return Ok(bound.set.clone());
        }
        let error = Diagnostic::error("UnknownKeyName", span, format!("no key is called {name}"));
        let mut known: Vec<&str> = self.bound.iter().map(|bound| bound.name.value.as_str()).collect();
        super::atoms::words().for_each(|word| known.push(word));
        Err(Box::new(error.with_help(match suggest::nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("bind it above: KEY {name} = …"),
        })))
    }
}

/// An atom with several names or selectors as one for each.
fn each(atom: &Atom) -> Vec<Atom> {
    let one = |names: &[Spanned<String>], make: fn(Vec<Spanned<String>>) -> Atom| {
        names.iter().map(|name| make(vec![name.clone()])).collect()
    };
    match atom {
        Atom::Env(names) => one(names, Atom::Env),
        Atom::Arg(names) => one(names, Atom::Arg),
        Atom::Data { format, path, selectors } => selectors
            .iter()
            .map(|selector| Atom::Data { format: *format, path: path.clone(), selectors: vec![selector.clone()] })
            .collect(),
        other => vec![other.clone()],
    }
}
