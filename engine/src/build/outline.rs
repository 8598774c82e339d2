//! The stages and steps of a file with their values expanded: what `kiln plan --graph` shows.
//!
//! Reads the Dockerfile and what it includes, and nothing else: no store, no context, no registry. Of a base image
//! nothing is known, as if it set nothing.

use super::{File, Includes, gather, includes, options, planned, read_dockerfile, wanted};
use crate::api::{BuildError, Context, NamedContext, Request};
use crate::digest::ImageKey;
use crate::image::config::ImageConfig;
use crate::plan::{ContextBase, ContextId, KnownImage, Plan, context_key};
use serde::Serialize;

/// A file's stages and steps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outline {
    /// What is built: each stage with its platform.
    pub results: Vec<OutlineResult>,
    /// All instructions that the results need, in their order.
    pub steps: Vec<OutlineStep>,
    /// The images that stages and steps begin with or read; what they set is not known here.
    pub images: Vec<String>,
}

/// Something that is built.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutlineResult {
    /// The stage's name, or `stage-` and its number.
    pub stage: String,
    /// The platform that it is built for.
    pub platform: String,
}

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutlineStep {
    /// Its number, from 1.
    pub step: usize,
    /// As it is shown while building: `[build 2/5] RUN make`.
    pub name: String,
    /// The stage's name, or `stage-` and its number.
    pub stage: String,
    /// Where it runs, and what for where that is another platform.
    pub platform: String,
    /// Its first line, from 1.
    pub line: u32,
    /// The file that the line is of, where that is an included one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The instruction, its values expanded.
    pub instruction: String,
    /// Whether it makes or takes layers; otherwise it only changes the configuration.
    pub has_layers: bool,
    /// The numbers of the instructions that it waits for.
    pub needs: Vec<usize>,
}

/// The outline of what `request` builds.
///
/// # Errors
/// Where the file cannot be read or planned, and where the context is no directory of the host.
pub fn outline(request: &Request) -> Result<Outline, BuildError> {
    let Context::Directory(root) = &request.context else {
        return Err(BuildError::Unsupported {
            what: "drawing a plan whose context would have to be fetched".to_owned(),
            place: None,
            advice: Some("clone or unpack it, and give the directory".to_owned()),
        });
    };
    let (path, mut file) = read_dockerfile(root, request.dockerfile.as_deref())?;
    let includes = Includes::of_host(root, &path);
    let named = request.contexts.iter().enumerate().map(|(number, (name, context))| {
        let base = match context {
            NamedContext::Directory(_) => ContextBase::Local(ContextId(number + 1)),
            NamedContext::Remote(text) => ContextBase::Remote(gather::remote_source(request, text)?),
            NamedContext::Image(image) => ContextBase::Image(image.clone()),
            NamedContext::Stage(stage) => ContextBase::Stage(stage.clone()),
        };
        Ok((context_key(name), base))
    });
    let options = options(request, ContextBase::Local(ContextId(0)), named.collect::<Result<_, _>>()?);
    let parsed = includes::parse(&mut file, &includes)?;
    let sheets = wanted::sheets(request, &options, parsed, &file)?;
    let mut images = Vec::new();
    let (plan, ..) = planned(&sheets, &file, |need| {
        if !images.contains(&need.name) {
            images.push(need.name.clone());
        }
        let platform = &need.platform;
        let variant = platform.variant.as_deref().unwrap_or_default();
        let config = ImageConfig::scratch(&platform.arch, &platform.os, variant);
        Ok(KnownImage { key: ImageKey::from_bytes([0; 32]), config })
    })?;
    Ok(of(&plan, &file, images))
}

fn of(plan: &Plan, file: &File, images: Vec<String>) -> Outline {
    let results = plan.results.iter();
    let results =
        results.map(|result| OutlineResult { stage: result.stage.clone(), platform: result.built_for.to_string() });
    let needs = super::book::inputs(plan);
    let steps = plan.shown.iter().zip(needs).enumerate().map(|(index, (shown, needs))| OutlineStep {
        step: index + 1,
        name: shown.name.clone(),
        stage: shown.stage.clone(),
        platform: shown.lane.clone(),
        line: shown.line,
        file: file.included(shown.span),
        instruction: shown.instruction.clone(),
        has_layers: shown.node.is_some(),
        needs: needs.into_iter().map(|input| input + 1).collect(),
    });
    Outline { results: results.collect(), steps: steps.collect(), images }
}
