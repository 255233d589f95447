//! Requests as an endpoint reads them from its connection, by a few lines of its own: it must be able to hang up at any moment.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longest body.
const MAX_BODY: usize = 1 << 20;

/// What came.
#[derive(Debug, Default)]
pub(super) struct Request {
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The next one; `None`: the connection is over.
    pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> Option<Self> {
        let mut request = Self::default();
        let mut line = String::new();
        from.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        loop {
            line.clear();
            from.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length: usize =
            request.header("content-length").parse().ok().filter(|length| *length <= MAX_BODY)?;
        request.body = vec![0; length];
        from.read_exact(&mut request.body).await.ok()?;
        Some(request)
    }

    /// One of its headers, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value)
    }
}
