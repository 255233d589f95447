//! TLS of a server.

/// Who a server says that it is, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, and those between it and the authority, if any.
    pub certificate: String,
    /// Its key.
    pub key: String,
}
