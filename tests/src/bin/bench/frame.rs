//! What a measurement is: rows of contestants that do the same work in turn, and their statistics.
//!
//! Contestants are interleaved (A B C A B C …), so that a noisy machine is noisy for all of them. Knows
//! nothing of builders.

use crate::lab::Lab;
use std::path::Path;

/// A failure, in words.
pub type Error = Box<dyn std::error::Error>;

/// What everything here gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Rows that make one table.
pub struct Section {
    /// By which it is asked for.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What stands between the heading and the table.
    pub intro: &'static str,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// One kind of work.
pub struct Row {
    /// By which it is asked for.
    pub name: &'static str,
    /// What is done, for the table.
    pub work: &'static str,
    /// How often each contestant runs after the warm-up.
    pub rounds: usize,
    /// What kiln, the first contestant, has to reach.
    pub bound: Option<Bound>,
    /// Makes what the contestants need in an empty directory.
    pub setup: Setup,
}

/// Makes a contest in an empty directory.
pub type Setup = Box<dyn Fn(&Lab, &Path) -> Result<Contest>>;

/// What the first contestant has to reach.
#[derive(Clone, Copy)]
pub enum Bound {
    /// A median of so many seconds.
    Seconds(f64),
    /// So many times the median of the contestant named [`FLOOR`].
    TimesFloor(f64),
    /// So many times the median of the contestant named [`FLOOR`], and so many bytes resident, at most.
    TimesFloorWithin {
        /// The times.
        times: f64,
        /// Resident.
        bytes: u64,
    },
    /// A median of so many seconds more than that of [`FLOOR`].
    SecondsOverFloor(f64),
    /// So many bytes resident, at most.
    Bytes(u64),
    /// A median of so many seconds, and in 99 of 100 rounds no more than so many.
    Latency {
        /// For the one in the middle.
        median: f64,
        /// For the 99th of 100.
        p99: f64,
    },
    /// So many seconds and so many bytes resident, at most.
    Idle {
        /// Of processor time.
        seconds: f64,
        /// Resident.
        bytes: u64,
    },
}

/// The name of the contestant that does the least that could be done.
pub const FLOOR: &str = "floor";

/// Those who do one row's work.
pub struct Contest {
    /// What happens before each round, not measured; told the round's number, 0 for the warm-up.
    pub edit: Box<dyn FnMut(usize) -> Result<()>>,
    /// The contestants, kiln first.
    pub contestants: Vec<Contestant>,
}

/// One who does the work.
pub struct Contestant {
    /// As the table calls it.
    pub name: String,
    /// It takes part in each so many rounds, the warm-up apart: what takes a hundred times as long needs fewer.
    pub every: usize,
    /// Does the work once, in the round with this number.
    pub run: Box<dyn FnMut(usize) -> Result<Sample>>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Wall time.
    pub seconds: f64,
    /// The largest resident set of any of its processes, in bytes; 0 where nothing can be said.
    pub resident: u64,
}

/// The measurements of one row.
pub struct Measured<'a> {
    /// What was measured.
    pub row: &'a Row,
    /// The contestants with their statistics, in the row's order.
    pub contestants: Vec<(String, Statistics)>,
}

/// What is said of many samples.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// The shortest, in seconds.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The 99th of 100; the longest where there are fewer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// How many there are.
    pub samples: usize,
    /// The largest resident set, in bytes.
    pub resident: u64,
}

impl Statistics {
    fn of(samples: &[Sample]) -> Self {
        let mut seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        Statistics {
            min: seconds[0],
            median: (seconds[(seconds.len() - 1) / 2] + seconds[seconds.len() / 2]) / 2.0,
            p99: seconds[(seconds.len() * 99).div_ceil(100) - 1],
            max: seconds[seconds.len() - 1],
            samples: seconds.len(),
            resident: samples.iter().map(|sample| sample.resident).max().unwrap_or(0),
        }
    }
}

impl Measured<'_> {
    /// The statistics of the contestant with this name.
    pub fn of(&self, name: &str) -> Option<Statistics> {
        self.contestants.iter().find(|(other, _)| other == name).map(|(_, statistics)| *statistics)
    }

    /// Whether the first contestant reached the row's bound; `None` where there is none.
    pub fn is_kept(&self) -> Option<bool> {
        let (_, first) = self.contestants.first()?;
        Some(match self.row.bound? {
            Bound::Seconds(seconds) => first.median <= seconds,
            Bound::TimesFloor(times) => first.median <= times * self.of(FLOOR)?.median,
            Bound::TimesFloorWithin { times, bytes } => {
                first.median <= times * self.of(FLOOR)?.median && first.resident <= bytes
            }
            Bound::SecondsOverFloor(seconds) => first.median <= self.of(FLOOR)?.median + seconds,
            Bound::Bytes(bytes) => first.resident <= bytes,
            Bound::Latency { median, p99 } => first.median <= median && first.p99 <= p99,
            Bound::Idle { seconds, bytes } => first.max <= seconds && first.resident <= bytes,
        })
    }
}

/// Runs a row: a warm-up for everyone, then the rounds.
pub fn measure<'a>(lab: &Lab, row: &'a Row, rounds: Option<usize>) -> Result<Measured<'a>> {
    let place = lab.directory(row.name)?;
    let mut contest = (row.setup)(lab, &place)?;
    let rounds = rounds.unwrap_or(row.rounds).max(1);
    let mut samples: Vec<Vec<Sample>> = contest.contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        (contest.edit)(round)?;
        for (contestant, samples) in contest.contestants.iter_mut().zip(&mut samples) {
            if !round.is_multiple_of(contestant.every) {
                continue;
            }
            let sample =
                (contestant.run)(round).map_err(|error| format!("{}: {}: {error}", row.name, contestant.name))?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let contestants = contest
        .contestants
        .into_iter()
        .zip(&samples)
        .filter(|(_, samples)| !samples.is_empty())
        .map(|(contestant, samples)| (contestant.name, Statistics::of(samples)))
        .collect();
    Ok(Measured { row, contestants })
}
