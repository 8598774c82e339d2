//! How the steps of a build lie on the disk, with their keys.
//!
//! Texts stand once in a table, whatever number of steps has them, and what follows from the rest of a step is left out:
//! of a step that ends as it would where nothing has changed nothing is said about how. So a step takes 100 to 300
//! bytes. The keys stand behind all steps and are read by themselves.

use super::Keys;
use crate::digest::{KeyId, LayerId, SnapshotId};
use crate::explain::{BuildId, BuildStep, Made, Verdict, Why};
use crate::key::{Component, Value};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The first bytes: another version is as good as none.
const MAGIC: &[u8] = b"kiln steps 2\n";

/// The place of a text in the table.
type Text = u32;

#[derive(Serialize, Deserialize)]
struct Row {
    /// The name, or what stands before the instruction in it.
    name: Text,
    has_instruction: bool,
    stage: Text,
    platform: Text,
    instruction: Text,
    written: Text,
    line: u32,
    /// The included file that the line is of; the empty text for the Dockerfile itself.
    file: Text,
    /// How far before this step each input is.
    inputs: Vec<i64>,
    key: Option<KeyId>,
    layer: Option<LayerId>,
    stack: Option<SnapshotId>,
    made: Option<MadeRow>,
    /// How it ended; none where that is as if nothing had changed.
    ending: Option<Ending>,
}

#[derive(Serialize, Deserialize)]
struct MadeRow {
    build: BuildId,
    nanos: i64,
    /// None where it is the step's own.
    name: Option<Text>,
    millis: u64,
}

#[derive(Serialize, Deserialize)]
struct Ending {
    verdict: Verdict,
    reason: String,
    duration: f64,
    earlier: Option<f64>,
    why: Why,
}

#[derive(Serialize, Deserialize)]
enum ValueRow {
    Text(Text),
    Other(Value),
}

#[derive(Default)]
struct Table<'a> {
    places: HashMap<&'a str, Text>,
    all: Vec<&'a str>,
}

impl<'a> Table<'a> {
    fn put(&mut self, text: &'a str) -> Text {
        let next = self.all.len() as Text;
        let place = *self.places.entry(text).or_insert(next);
        if place == next {
            self.all.push(text);
        }
        place
    }
}

/// Writes steps with their keys; `order` is the one in which they ended.
pub(super) fn encode<'a>(steps: &'a [BuildStep], keys: &'a Keys, order: &[usize]) -> Result<Vec<u8>, postcard::Error> {
    let mut table = Table::default();
    let rows: Vec<Row> = steps.iter().enumerate().map(|(index, step)| row(index, step, &mut table)).collect();
    let (mut labels, mut values) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    for key in keys {
        labels.push(key.iter().map(|component| table.put(&component.label)).collect::<Vec<_>>());
        let value = |component: &'a Component| match &component.value {
            Value::Text(text) => ValueRow::Text(table.put(text)),
            other => ValueRow::Other(other.clone()),
        };
        values.push(key.iter().map(value).collect::<Vec<_>>());
    }
    let mut last = 0;
    let order = order.iter().map(|&at| at as i64 - std::mem::replace(&mut last, at as i64 + 1));
    let order: Vec<i64> = order.collect();
    let data = postcard::to_extend(&table.all, MAGIC.to_vec())?;
    let data = postcard::to_extend(&(rows, order), data)?;
    postcard::to_extend(&(labels, values), data)
}

fn row<'a>(index: usize, step: &'a BuildStep, table: &mut Table<'a>) -> Row {
    let before = step.name.strip_suffix(step.instruction.as_str());
    let made = step.made.as_ref().map(|made| MadeRow {
        build: made.build,
        nanos: made.nanos,
        name: (made.name != step.name).then(|| table.put(&made.name)),
        millis: made.millis,
    });
    let ending = (!is_unchanged(step)).then(|| Ending {
        verdict: step.verdict,
        reason: step.reason.clone(),
        duration: step.duration,
        earlier: step.earlier,
        why: step.why.clone(),
    });
    Row {
        name: table.put(before.unwrap_or(&step.name)),
        has_instruction: before.is_some(),
        stage: table.put(&step.stage),
        platform: table.put(&step.platform),
        instruction: table.put(&step.instruction),
        written: table.put(&step.written),
        line: step.line,
        file: table.put(step.file.as_deref().unwrap_or_default()),
        inputs: step.inputs.iter().map(|&input| index as i64 - input as i64).collect(),
        key: step.key,
        layer: step.layer,
        stack: step.stack,
        made,
        ending,
    }
}

/// Whether a step ended as it would where nothing had changed.
fn is_unchanged(step: &BuildStep) -> bool {
    let verdict = BuildStep::unchanged_verdict(step.key);
    let why = Why { compared: step.made.as_ref().map(Made::compared), ..Why::default() };
    step.verdict == verdict
        && Some(step.reason.as_str()) == verdict.kind()
        && step.duration == 0.0
        && step.earlier == step.made.as_ref().map(Made::seconds)
        && step.why == why
}

/// The steps of a build, of which only what is asked for is taken out.
pub struct Steps<'a> {
    texts: Vec<&'a str>,
    rows: Vec<Row>,
    order: Vec<i64>,
    keys: &'a [u8],
}

impl<'a> Steps<'a> {
    /// Reads what [`encode`] wrote; `None` where it is damaged.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (texts, rest) = postcard::take_from_bytes::<Vec<&str>>(data.strip_prefix(MAGIC)?).ok()?;
        let ((rows, order), keys): ((Vec<Row>, Vec<i64>), _) = postcard::take_from_bytes(rest).ok()?;
        let is_text = |&text: &Text| (text as usize) < texts.len();
        let is_whole = |row: &Row| {
            let own = [row.name, row.stage, row.platform, row.instruction, row.written, row.file];
            own.iter().all(is_text) && row.made.iter().all(|made| made.name.iter().all(is_text))
        };
        let is_whole = rows.iter().all(is_whole);
        is_whole.then_some(Steps { texts, rows, order, keys })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The places of the steps in the order in which they end where nothing has changed.
    pub fn order(&self) -> impl Iterator<Item = usize> {
        let mut last = 0;
        let places = self.order.iter().map(move |&far| {
            let at = last + far;
            last = at + 1;
            at
        });
        places.filter_map(|at| usize::try_from(at).ok()).filter(|&at| at < self.rows.len())
    }

    fn text(&self, text: Text) -> &'a str {
        self.texts[text as usize]
    }

    fn name_of(&self, row: &Row) -> String {
        let name = self.text(row.name);
        if row.has_instruction { [name, self.text(row.instruction)].concat() } else { name.to_owned() }
    }

    /// A step's name.
    pub fn name(&self, at: usize) -> String {
        self.name_of(&self.rows[at])
    }

    /// A step's stage.
    pub fn stage(&self, at: usize) -> &'a str {
        self.text(self.rows[at].stage)
    }

    /// A step's instruction.
    pub fn instruction(&self, at: usize) -> &'a str {
        self.text(self.rows[at].instruction)
    }

    /// A step's platform.
    pub fn platform(&self, at: usize) -> &'a str {
        self.text(self.rows[at].platform)
    }

    /// A step's first line.
    pub fn line(&self, at: usize) -> u32 {
        self.rows[at].line
    }

    /// The included file that a step's line is of.
    pub fn file(&self, at: usize) -> Option<&'a str> {
        Some(self.text(self.rows[at].file)).filter(|file| !file.is_empty())
    }

    /// A step's key.
    pub fn key(&self, at: usize) -> Option<KeyId> {
        self.rows[at].key
    }

    /// Whether a step has the result of an execution.
    pub fn has_made(&self, at: usize) -> bool {
        self.rows[at].made.is_some()
    }

    /// A step's layer.
    pub fn layer(&self, at: usize) -> Option<LayerId> {
        self.rows[at].layer
    }

    /// The execution whose result a step has.
    pub fn made(&self, at: usize) -> Option<Made> {
        let row = &self.rows[at];
        let made = row.made.as_ref()?;
        let name = made.name.map_or_else(|| self.name_of(row), |name| self.text(name).to_owned());
        Some(Made { build: made.build, nanos: made.nanos, name, millis: made.millis })
    }

    /// A step with all that is kept of it.
    pub fn step(&self, at: usize) -> BuildStep {
        let row = &self.rows[at];
        let inputs = row.inputs.iter().filter_map(|far| usize::try_from(at as i64 - far).ok());
        let step = BuildStep {
            name: self.name_of(row),
            stage: self.text(row.stage).to_owned(),
            platform: self.text(row.platform).to_owned(),
            instruction: self.text(row.instruction).to_owned(),
            written: self.text(row.written).to_owned(),
            line: row.line,
            file: self.file(at).map(str::to_owned),
            inputs: inputs.collect(),
            verdict: Verdict::Cancelled,
            reason: String::new(),
            key: row.key,
            layer: row.layer,
            stack: row.stack,
            duration: 0.0,
            earlier: None,
            why: Why::default(),
            made: self.made(at),
        };
        match &row.ending {
            None => step.unchanged(),
            Some(Ending { verdict, reason, duration, earlier, why }) => BuildStep {
                verdict: *verdict,
                reason: reason.clone(),
                duration: *duration,
                earlier: *earlier,
                why: why.clone(),
                ..step
            },
        }
    }

    /// The keys of all steps; `None` where they are damaged.
    pub fn keys(&self) -> Option<Keys> {
        let (labels, values): (Vec<Vec<Text>>, Vec<Vec<ValueRow>>) = postcard::from_bytes(self.keys).ok()?;
        let text = |place: Text| self.texts.get(place as usize).map(|text| (*text).to_owned());
        let component = |(label, value)| {
            let value = match value {
                ValueRow::Text(place) => Value::Text(text(place)?),
                ValueRow::Other(value) => value,
            };
            Some(Component { label: text(label)?, value })
        };
        let key =
            |(labels, values): (Vec<Text>, Vec<ValueRow>)| labels.into_iter().zip(values).map(component).collect();
        labels.into_iter().zip(values).map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Hit, Miss};
    use proptest::prelude::*;

    fn made() -> impl Strategy<Value = Made> {
        ("[ab]{0,2}", any::<i64>(), any::<u64>()).prop_map(|(name, nanos, millis)| Made {
            build: BuildId::from_bytes([1; 6]),
            nanos,
            name,
            millis,
        })
    }

    fn step() -> impl Strategy<Value = BuildStep> {
        let texts = ("[ab]{0,2}", "[ab]{0,2}", any::<bool>(), any::<bool>());
        let places = (0u32..9, proptest::collection::vec(0usize..9, 0..3));
        let rest = (proptest::option::of(any::<u8>()), proptest::option::of(made()), 0u8..3);
        (texts, places, rest).prop_map(|((a, b, is_whole, is_other), (line, inputs), (digest, made, kind))| {
            let step = BuildStep {
                name: if is_whole { format!("[{a}] {b}") } else { a.clone() },
                stage: a.clone(),
                platform: "linux/amd64".to_owned(),
                instruction: b.clone(),
                written: if is_other { a } else { b },
                line,
                file: is_other.then(|| "lib/common.kiln".to_owned()),
                inputs,
                verdict: Verdict::Hit(Hit::EarlyCutoff),
                reason: "early cutoff".to_owned(),
                key: digest.map(|byte| KeyId::from_bytes([byte; 32])),
                layer: digest.map(|byte| LayerId::from_bytes([byte / 2; 32])),
                stack: None,
                duration: 0.0,
                earlier: Some(2.0),
                why: Why::default(),
                made,
            };
            match kind {
                0 => step.unchanged(),
                1 => step,
                _ => BuildStep { verdict: Verdict::Miss(Miss::Changed), duration: 1.5, ..step },
            }
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_what_is_cut_short_is_not(
            steps in proptest::collection::vec(step(), 0..6),
            labels in proptest::collection::vec("[ab]{1,2}", 0..4),
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let key: Vec<Component> = labels.iter().map(|label| match label.len() {
                1 => Component::text(label.as_str(), "a"),
                _ => Component { label: label.clone(), value: Value::Hidden([3; 32]) },
            }).collect();
            let keys: Keys = steps.iter().map(|step| if step.key.is_some() { key.clone() } else { Vec::new() }).collect();
            let order: Vec<usize> = order.iter().filter(|_| !steps.is_empty()).map(|at| at.index(steps.len())).collect();
            let data = encode(&steps, &keys, &order).unwrap();
            let read = Steps::read(&data).unwrap();
            let again: Vec<BuildStep> = (0..read.len()).map(|at| read.step(at)).collect();
            prop_assert_eq!(&again, &steps);
            prop_assert_eq!(read.keys().unwrap(), keys);
            prop_assert_eq!(read.order().collect::<Vec<_>>(), order);
            for (at, step) in steps.iter().enumerate() {
                prop_assert_eq!(read.name(at), step.name.clone());
                prop_assert_eq!(step.clone().unchanged().unchanged(), step.clone().unchanged());
            }
            for length in 0..data.len() {
                prop_assert!(Steps::read(&data[..length]).is_none_or(|cut| cut.keys().is_none()));
            }
        }

        #[test]
        fn bytes_of_any_kind_are_no_reason_to_panic(mut noise in proptest::collection::vec(any::<u8>(), 0..64), with_magic: bool) {
            if with_magic {
                noise.splice(0..0, MAGIC.iter().copied());
            }
            if let Some(steps) = Steps::read(&noise) {
                let _any = ((0..steps.len()).map(|at| steps.step(at)).collect::<Vec<_>>(), steps.order().count(), steps.keys());
            }
        }
    }

    #[test]
    fn a_step_of_a_long_stage_takes_few_bytes() {
        let step = |at: u32| {
            let instruction = format!("WORKDIR /d{at}");
            let step = BuildStep {
                name: format!("[s {at}/1000] {instruction}"),
                stage: "s".to_owned(),
                platform: "linux/amd64".to_owned(),
                written: instruction.clone(),
                instruction,
                line: at,
                file: None,
                inputs: vec![at.saturating_sub(1) as usize],
                verdict: Verdict::Cancelled,
                reason: String::new(),
                key: Some(KeyId::from_bytes([1; 32])),
                layer: Some(LayerId::from_bytes([1; 32])),
                stack: None,
                duration: 0.0,
                earlier: None,
                why: Why::default(),
                made: Some(Made {
                    build: BuildId::from_bytes([1; 6]),
                    nanos: i64::MAX,
                    name: String::new(),
                    millis: 7,
                }),
            };
            let made = step.made.clone().map(|made| Made { name: step.name.clone(), ..made });
            BuildStep { made, ..step }.unchanged()
        };
        let steps: Vec<BuildStep> = (0..1000).map(step).collect();
        let key =
            |step: &BuildStep| vec![Component::text("the path", &step.instruction[8..]), Component::text("a", "b")];
        let keys: Keys = steps.iter().map(key).collect();
        let data = encode(&steps, &keys, &(0..1000).collect::<Vec<_>>()).unwrap();
        assert!(data.len() < 160 * 1000, "{} bytes", data.len());
    }
}
