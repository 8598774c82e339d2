//! Collection: what nothing needs leaves the store.
//!
//! [`facts`] reads what is there, [`decide`] says without touching anything what goes and why the rest
//! stays, [`take`] removes it. Running builds are not waited for: what one of them has pinned stays, and
//! what it has looked up and not found is made again (see [`crate::store::pin`]).

mod decide;
mod facts;
mod take;

use crate::api::{ManageError, PruneReport, PruneRequest};
use crate::store::now;
use facts::Facts;
use take::Collector;

/// Collects what nothing needs, or says what would go.
///
/// | what | goes | with `all` |
/// |---|---|---|
/// | an image without a name | yes | yes |
/// | a step's record | where the step has a newer one | yes, unless a named image has its layer anyway |
/// | a layer | where no image and no record that stays has it | the same |
/// | a layer's tar | where no image that stays was pulled with it, and its layer goes | the same, and all that can be packed again |
/// | the record of a build | no; each project keeps its newest 50 | yes, but for each project's last |
/// | a cache mount, a stat cache, the host's skeleton | no | yes |
///
/// `older_than` keeps what was of use since, and `keep_storage` stops once the store is small enough; what was
/// not of use for the longest time goes first.
///
/// # Errors
/// The store cannot be read or written. What went until then is gone.
pub fn prune(request: &PruneRequest) -> Result<PruneReport, ManageError> {
    let failed = super::store_failed(&request.store);
    let Some(store) = super::open(&request.store)? else { return Ok(PruneReport::default()) };
    let collector = Collector::new(&store).map_err(&failed)?;
    let facts = Facts::read(&store).map_err(&failed)?;
    let in_use = |digest: &[u8; 32]| collector.is_in_use(digest);
    let mut decision = decide::decide(&facts, request, now(), &in_use);
    if !request.dry_run {
        collector.remove(&facts, &mut decision).map_err(&failed)?;
        store.forget_stacks(&in_use).map_err(failed)?;
    }
    Ok(decision.report(&facts))
}

#[cfg(test)]
mod tests;
