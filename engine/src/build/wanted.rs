//! What a request wants of its file: for each target and platform the file as that platform sees it, and its stages.
//!
//! What no build could give is refused here, before anything runs. Pure.

use super::File;
use crate::api::{BuildError, Output, Request, Target};
use crate::plan::{self, Options, Unroll};
use kiln_dsl::ast::{Command, Document};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser::Parsed;
use kiln_dsl::platform::Platform;
use std::borrow::Cow;

/// The build argument that makes one platform look like several.
const MULTI_PLATFORM: &str = "BUILDKIT_MULTI_PLATFORM";

/// A target for one platform.
pub(crate) struct Sheet {
    /// The target, by its place in the request.
    pub target: usize,
    /// The file as the checks see it, its alternatives decided and with one branch of each matrix.
    pub parsed: Parsed,
    /// The file as it is planned, with all branches.
    pub document: Document,
    /// For what it is planned.
    pub options: Options,
    /// The stages that the target means.
    pub stages: Vec<Option<String>>,
    /// The names of the stages that are no image, in lower case.
    pub checks: Vec<String>,
}

impl Sheet {
    /// As the plan wants it.
    pub fn wanted(&self) -> plan::Wanted<'_> {
        plan::Wanted { document: &self.document, options: &self.options, stages: &self.stages }
    }

    /// The stages that the checks see: of a matrix they see one branch, and what is wrong in it is wrong in all.
    pub fn checked_stages(&self) -> impl Iterator<Item = &Option<String>> {
        let is_seen = |stage: &&Option<String>| match stage {
            Some(stage) if self.stages.len() > 1 => {
                names(&self.parsed.document).any(|name| name.eq_ignore_ascii_case(stage))
            }
            _ => true,
        };
        self.stages.iter().filter(is_seen)
    }
}

/// The names of a file's stages, those that have one.
fn names(document: &Document) -> impl Iterator<Item = &str> {
    document.instructions.iter().filter_map(|instruction| match &instruction.command {
        Command::From(from) => from.name.as_ref().map(|name| name.value.as_str()),
        _ => None,
    })
}

/// That a Dockerfile's last stage, which Docker builds, is no check: behind `# kiln:` nothing changes the image.
fn refuse_last(document: &Document, checks: &[String], file: &File) -> Result<(), BuildError> {
    let last = names(document).last().map(str::to_lowercase).filter(|name| checks.contains(name));
    let word = document.checks.iter().find(|word| Some(word.value.to_lowercase()) == last);
    match word {
        Some(word) if file.dialect() == Dialect::Dockerfile => {
            let message = format!("{} is the last stage, which Docker builds as the image", word.value);
            let error = Diagnostic::error("NeedsKilnFile", word.span, message);
            Err(file.findings(vec![error.with_help("move the stage above another one, or call the file *.kiln")]))
        }
        _ => Ok(()),
    }
}

/// One thing that is built: a stage for one or several platforms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    /// The target, by its place in the request.
    pub target: usize,
    /// What it is called.
    pub name: String,
    /// Its results, by their places in the plan: one for each platform.
    pub members: Vec<usize>,
}

/// The targets of a request: the last stage where it names none.
pub(crate) fn targets(request: &Request) -> Vec<Target> {
    match request.targets.as_slice() {
        [] => vec![Target::default()],
        several => several.to_vec(),
    }
}

fn platforms(texts: &[String], host: &Platform) -> Result<Vec<Platform>, BuildError> {
    let mut all = Vec::new();
    // A variable that names several is one text.
    for text in texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
        // As buildx has it.
        let parsed = if text == "local" { Ok(host.clone()) } else { Platform::parse(text) };
        let platform =
            parsed.map_err(|error| BuildError::Platform { platform: text.to_owned(), reason: error.to_string() })?;
        if !all.contains(&platform) {
            all.push(platform);
        }
    }
    if all.is_empty() {
        all.push(host.clone());
    }
    Ok(all)
}

/// Whether results are to look like those for several platforms, whatever their number.
fn is_multi(request: &Request, most: usize) -> Result<bool, BuildError> {
    let Some((_, value)) = request.build_args.iter().find(|(name, _)| name == MULTI_PLATFORM) else {
        return Ok(false);
    };
    let wrong = |what: String, advice: &str| BuildError::Conflict { what, advice: advice.to_owned() };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" if most > 1 => Err(wrong(
            format!("the build argument {MULTI_PLATFORM}={value} allows one platform, and {most} are asked for"),
            "leave the argument out, or name one --platform",
        )),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            Err(wrong(format!("the build argument {MULTI_PLATFORM}={value} is neither true nor false"), "write 1 or 0"))
        }
    }
}

/// Whether the request asks for results that look like those for several platforms; what it says was found good before.
pub(crate) fn looks_multi(request: &Request) -> bool {
    is_multi(request, 1).unwrap_or(false)
}

/// What the request wants of the file. `base` has what is the same for all.
pub(crate) fn sheets(request: &Request, base: &Options, parsed: Parsed, file: &File) -> Result<Vec<Sheet>, BuildError> {
    let targets = targets(request);
    let mut asked = Vec::new();
    for target in &targets {
        let texts = if target.platforms.is_empty() { &request.platforms } else { &target.platforms };
        asked.push(platforms(texts, &base.build_platform)?);
    }
    let is_multi = is_multi(request, asked.iter().map(Vec::len).max().unwrap_or(1))?;
    let mut parsed = Some(parsed);
    let mut left: usize = asked.iter().map(Vec::len).sum();
    let mut sheets = Vec::with_capacity(left);
    for (index, (target, platforms)) in targets.iter().zip(&asked).enumerate() {
        let is_multi = is_multi || platforms.len() > 1;
        for platform in platforms {
            left -= 1;
            // The last one needs no copy.
            let Some(mut parsed) = (if left == 0 { parsed.take() } else { parsed.clone() }) else { continue };
            let mut options =
                Options { target: target.stage.clone(), platform: platform.clone(), is_multi, ..base.clone() };
            options.labels.retain(|(name, _)| !target.labels.iter().any(|(other, _)| other == name));
            options.labels.extend(target.labels.iter().cloned());
            let chosen = |unroll| plan::choose(&parsed.document, &options, unroll);
            let both = chosen(Unroll::All).and_then(|document| Ok((document, chosen(Unroll::One)?)));
            let document = match both {
                Ok((document, checked)) => {
                    parsed.document = checked;
                    document
                }
                Err(problems) => return Err(file.findings([parsed.diagnostics, problems].concat())),
            };
            let goals = plan::goals(&document, target.stage.as_deref());
            let plan::Goals { stages, checks } = goals.map_err(|problem| file.findings(vec![problem]))?;
            refuse_last(&document, &checks, file)?;
            sheets.push(Sheet { target: index, parsed, document, options, stages, checks });
        }
    }
    Ok(sheets)
}

/// The request with the stages that its flags name as steps know them: branches, TARGETs and numbers resolved.
///
/// # Errors
/// A name that is no stage.
pub(crate) fn stages_named<'r>(
    request: &'r Request,
    sheets: &[Sheet],
    file: &File,
) -> Result<Cow<'r, Request>, BuildError> {
    let on_miss = request.fail_on_miss.as_deref().unwrap_or_default();
    if request.no_cache_filter.is_empty() && on_miss.is_empty() {
        return Ok(Cow::Borrowed(request));
    }
    let resolved = |words: &[String]| -> Result<Vec<String>, BuildError> {
        let mut labels = Vec::new();
        for word in words {
            let mut found = Vec::new();
            for sheet in sheets {
                found.extend(labels_of(word, &sheet.document).map_err(|problem| file.findings(vec![problem]))?);
            }
            if found.is_empty() {
                let mut stages: Vec<String> =
                    sheets.iter().flat_map(|sheet| names(&sheet.document)).map(str::to_owned).collect();
                stages.sort();
                stages.dedup();
                return Err(BuildError::UnknownTarget { name: word.clone(), file: file.name.clone(), stages });
            }
            labels.extend(found);
        }
        Ok(labels)
    };
    let no_cache_filter = resolved(&request.no_cache_filter)?;
    let fail_on_miss = request.fail_on_miss.as_deref().map(resolved).transpose()?;
    Ok(Cow::Owned(Request { no_cache_filter, fail_on_miss, ..request.clone() }))
}

/// The stages that a word means, as steps know them; none where it means nothing.
fn labels_of(word: &str, document: &Document) -> Result<Vec<String>, Diagnostic> {
    let all: Vec<String> = document
        .instructions
        .iter()
        .filter_map(|one| match &one.command {
            Command::From(from) => Some(from.name.as_ref().map(|name| name.value.to_lowercase())),
            _ => None,
        })
        .enumerate()
        .map(|(index, name)| plan::stage_label(name.as_deref(), index))
        .collect();
    let label = |wanted: Option<String>| match wanted {
        None => all.last().cloned(),
        Some(wanted) => {
            let named = all.iter().find(|label| label.eq_ignore_ascii_case(&wanted));
            named.or_else(|| all.get(wanted.parse::<usize>().ok()?)).cloned()
        }
    };
    Ok(plan::goals(document, Some(word))?.stages.into_iter().filter_map(label).collect())
}

/// Which results of a plan belong together.
pub(crate) fn groups(request: &Request, sheets: &[Sheet], plan: &plan::Plan) -> Result<Vec<Group>, BuildError> {
    let targets = targets(request);
    let mut groups: Vec<(Group, &str)> = Vec::new();
    let mut result = 0;
    for sheet in sheets {
        for stage in &sheet.stages {
            let built = &plan.results[result];
            let found = groups.iter_mut().find(|(group, label)| group.target == sheet.target && *label == built.stage);
            let is_check = sheet.checks.contains(&built.stage);
            match found {
                _ if is_check => {}
                Some((group, _)) => group.members.push(result),
                None => {
                    let given = targets[sheet.target].name.clone().filter(|_| sheet.stages.len() == 1);
                    let name = given.or_else(|| stage.clone()).unwrap_or_else(|| built.stage.clone());
                    groups.push((Group { target: sheet.target, name, members: vec![result] }, &built.stage));
                }
            }
            result += 1;
        }
    }
    let groups: Vec<Group> = groups.into_iter().map(|(group, _)| group).collect();
    check(request, &targets, &groups)?;
    Ok(groups)
}

/// Refuses what several results cannot have.
fn check(request: &Request, targets: &[Target], groups: &[Group]) -> Result<(), BuildError> {
    let names = || groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
    let conflict = |what: String, advice: &str| Err(BuildError::Conflict { what, advice: advice.to_owned() });
    if let (Some(tag), []) = (request.tags.first(), groups) {
        return conflict(format!("the name {tag} is for an image, and only checks are built"), "build an image too");
    }
    if let (Some(tag), true) = (request.tags.first(), groups.len() > 1) {
        let what = format!("the name {tag} is for one image, and {} are built: {}", groups.len(), names());
        return conflict(what, "say which: -t STAGE=NAME, or give each target its tags in kiln.ron");
    }
    for (index, target) in targets.iter().enumerate() {
        let mine: Vec<&Group> = groups.iter().filter(|group| group.target == index).collect();
        if let (Some(tag), true) = (target.tags.first(), mine.len() > 1) {
            let what = format!("the name {tag} is for one image, and the target is {} of them", mine.len());
            return conflict(what, "name the stages one by one");
        }
        let own = target.outputs.iter().map(|output| (output, mine.len()));
        let common = request.outputs.iter().map(|output| (output, groups.len()));
        for (output, count) in own.chain(common) {
            let is_file = !matches!(output, Output::Local { .. } | Output::Oci { tar: false, .. });
            if is_file && count > 1 {
                let what = format!("one file cannot take {count} results: {}", names());
                return conflict(what, "use -o DIRECTORY or -o type=oci,tar=false,dest=DIRECTORY");
            }
            let members = mine.iter().map(|group| group.members.len()).max().unwrap_or(0);
            if matches!(output, Output::Docker { .. }) && (members > 1 || looks_multi(request)) {
                let what = "an archive for docker load holds images of one platform".to_owned();
                return conflict(what, "use -o type=oci, or build for one --platform");
            }
        }
    }
    Ok(())
}
