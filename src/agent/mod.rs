//! The rules of an answer: how chunks become a message, which history a call carries, when an agent is called and called
//! again, what an answer has cost, who is asked when nobody is named, who of a team speaks next. Pure: time and chance are arguments.

mod assembler;
mod digest;
mod history;
mod router;
mod schedule;
mod signature;
mod team;
mod url;
mod usage;

pub use assembler::{Answer, Assembler, ChunkError, Taken, Termination, without};
pub use digest::{digest, text_of};
pub use history::{History, compacted_list};
pub use router::{Candidate, Index};
pub use schedule::{Failure, due_us, retry_in_ms};
pub use signature::signature;
pub use team::{Invocation, Member, Plan, Said, Sees, Stance, plan, resolve};
pub use url::{WebhookUrlError, webhook_url};
pub use usage::{Usage, numbers, usage_of};
