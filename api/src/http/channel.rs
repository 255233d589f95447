//! What stands in the paths of channels.

use domain::channel::name::ChannelName;
use uuid::Uuid;

use super::error::ApiError;

/// The name of a channel.
pub(crate) fn channel_name(text: &str) -> Result<ChannelName, ApiError> {
    ChannelName::parse(text).map_err(|(code, detail)| ApiError::invalid_one("channel", code, detail))
}

/// The id of a refused document; what is no id is that of none.
pub(crate) fn refused_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| ApiError::not_found("refused document"))
}
