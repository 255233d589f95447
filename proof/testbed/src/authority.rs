//! An authority of a test's own, which says who its servers are.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use servers::Tls;
use tempfile::NamedTempFile;

/// Signs certificates; its own is in a file, which goes with it.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    /// One that nobody else knows.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?;
        let mut file = NamedTempFile::new()?;
        file.write_all(certificate.pem().as_bytes())?;
        file.flush()?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    /// Where its certificate is, in PEM.
    pub fn file(&self) -> &Path {
        self.file.path()
    }

    /// Says that a server is who these names and addresses lead to.
    pub fn certify(&self, names: &[&str]) -> Result<Tls> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok(Tls { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
