//! Configurations of rustls.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, Error, KeyLogFile, ServerConfig, SignatureScheme,
};

use crate::{Environment, Result, H3, HQ};

/// All that rustls has, or ChaCha20 alone if that is the test case.
pub fn provider(environment: &Environment) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if environment.testcase == "chacha20" {
        provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }
    Arc::new(provider)
}

pub fn client(environment: &Environment) -> Result<ClientConfig> {
    let provider = provider(environment);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![if environment.wants_h3 { H3.into() } else { HQ.into() }];
    config.key_log = Arc::new(KeyLogFile::new());
    config.enable_early_data = environment.testcase == "zerortt";
    Ok(config)
}

pub fn server(environment: &Environment, protocols: &[&str]) -> Result<ServerConfig> {
    let chain =
        CertificateDer::pem_file_iter(environment.certificates())?.collect::<std::result::Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(environment.private_key())?;
    let mut config = ServerConfig::builder_with_provider(provider(environment))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.key_log = Arc::new(KeyLogFile::new());
    if environment.testcase == "zerortt" {
        // RFC 9001 §4.6.1: the only value that QUIC allows.
        config.max_early_data_size = u32::MAX;
    }
    Ok(config)
}

/// Takes any certificate whose key signed: the matrix is not about certificates.
#[derive(Debug)]
struct AnyName(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC has no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
