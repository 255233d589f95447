//! What a client asks of orders, a file a verb; and the tasks behind the handlers that write.

pub(crate) mod accept;
pub(crate) mod add;
pub(crate) mod answers;
pub(crate) mod body;
pub(crate) mod collect;
pub(crate) mod earlier;
pub mod fault;
pub(crate) mod from_channel;
pub(crate) mod history;
pub(crate) mod later;
pub mod mover;
pub(crate) mod moves;
pub mod publish;
pub(crate) mod read;
pub(crate) mod target;
pub(crate) mod view;
pub mod writer;
