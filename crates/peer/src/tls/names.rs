//! Who comes in, of all those that the authority has given a certificate.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tracing::warn;
use webpki::EndEntityCert;

use super::SAID_FOR;

/// So many of a certificate's names are said.
const NAMES_SAID_MAX: usize = 8;

/// The names of which a client's certificate must have one. Empty: any certificate of the authority will do.
///
/// Names are DNS names, in upper or lower case. `*.` in front stands for one label: `*.nodes.internal` is the name of
/// `n1.nodes.internal`, not of `a.n1.nodes.internal` and not of `nodes.internal`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNames(Vec<String>);

impl AllowedNames {
    /// These names.
    pub fn new(names: &[String]) -> Self {
        Self(names.to_vec())
    }

    fn allow(&self, name: &str) -> bool {
        self.0.iter().any(|allowed| is_one_of(name, allowed))
    }

    /// Has the verifier look at names, too, if there are any to look for.
    pub(super) fn on_top_of(self, authority: Arc<dyn ClientCertVerifier>) -> Arc<dyn ClientCertVerifier> {
        if self.0.is_empty() {
            return authority;
        }
        Arc::new(Named { authority, allowed: self, said: Mutex::default() })
    }
}

fn is_one_of(name: &str, allowed: &str) -> bool {
    match allowed.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(_, of)| of.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(allowed),
    }
}

/// Asks the authority's verifier first, then looks at the names.
#[derive(Debug)]
struct Named {
    authority: Arc<dyn ClientCertVerifier>,
    allowed: AllowedNames,
    /// Who was refused last, and when that was said.
    said: Mutex<Option<(String, Instant)>>,
}

impl Named {
    fn refuse(&self, names: &[&str]) -> Error {
        let names = names.iter().take(NAMES_SAID_MAX).copied().collect::<Vec<_>>().join(" ");
        let mut said = self.said.lock().expect("no holder of this lock panics");
        let lately = |(last, at): &(String, Instant)| *last == names && at.elapsed() < SAID_FOR;
        if !said.as_ref().is_some_and(lately) {
            warn!(names, "a process whose certificate has none of the allowed names was refused");
            *said = Some((names, Instant::now()));
        }
        CertificateError::ApplicationVerificationFailure.into()
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.authority.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let names: Vec<&str> = certificate.valid_dns_names().collect();
        if names.iter().any(|name| self.allowed.allow(name)) {
            Ok(verified)
        } else {
            Err(self.refuse(&names))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        let allowed = AllowedNames::new(&["r1.example.com".into(), "*.nodes.internal".into()]);
        for name in ["r1.example.com", "R1.Example.com", "n1.nodes.internal", "N1.NODES.internal"] {
            assert!(allowed.allow(name), "{name}");
        }
        for name in ["r2.example.com", "a.r1.example.com", "nodes.internal", "a.n1.nodes.internal", "n1", ""]
        {
            assert!(!allowed.allow(name), "{name}");
        }
    }
}
