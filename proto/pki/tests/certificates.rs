//! What the authority certifies, and what a verifier makes of it.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use proto::id::{AgentId, MasterId};
use proto_pki::{Authority, Credentials, Identity, KeyAndRequest, LEAF_VALIDITY, PeerRole, PkiError};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;

fn verifies_as_server(
    credentials: &Credentials,
    ca: &Authority,
    role: PeerRole,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    let trusted = Credentials { ca_pem: ca.ca_pem().to_owned(), ..credentials.clone() };
    roots.add(trusted.ca().unwrap())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .unwrap();
    let name = ServerName::try_from(role.server_name()).unwrap();
    let leaf = credentials.certificate().unwrap();
    verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).map(|_| ())
}

fn verifies_as_client(credentials: &Credentials, ca: &Authority) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    let trusted = Credentials { ca_pem: ca.ca_pem().to_owned(), ..credentials.clone() };
    roots.add(trusted.ca().unwrap())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .unwrap();
    verifier.verify_client_cert(&credentials.certificate().unwrap(), &[], UnixTime::now()).map(|_| ())
}

fn ada() -> Identity {
    Identity::User("ada".into())
}

#[test]
fn each_identity_serves_as_its_own_role_only() {
    let ca = Authority::create("pool-1").unwrap();
    let master = ca.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).unwrap();
    assert_eq!(master.identity().unwrap(), ("pool-1".to_owned(), Identity::Master(MasterId(1))));
    verifies_as_server(&master, &ca, PeerRole::Master).unwrap();
    verifies_as_client(&master, &ca).unwrap();
    assert!(verifies_as_server(&master, &ca, PeerRole::Agent).is_err());

    let agent = ca.issue(&Identity::Agent(AgentId::new("a1").unwrap()), LEAF_VALIDITY).unwrap();
    verifies_as_server(&agent, &ca, PeerRole::Agent).unwrap();
    assert!(verifies_as_server(&agent, &ca, PeerRole::Master).is_err());

    let user = ca.issue(&ada(), LEAF_VALIDITY).unwrap();
    verifies_as_client(&user, &ca).unwrap();
    for role in [PeerRole::Master, PeerRole::Agent, PeerRole::Framework] {
        assert!(verifies_as_server(&user, &ca, role).is_err(), "{role}");
    }
}

#[test]
fn another_authority_of_the_same_name_is_refused() {
    let (ours, theirs) = (Authority::create("pool-1").unwrap(), Authority::create("pool-1").unwrap());
    assert_ne!(ours.ca_sha256(), theirs.ca_sha256());
    let forged = theirs.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).unwrap();
    assert!(verifies_as_server(&forged, &ours, PeerRole::Master).is_err());
    assert!(verifies_as_client(&forged, &ours).is_err());
}

#[test]
fn a_leaf_cannot_certify_others() {
    let ca = Authority::create("pool-1").unwrap();
    let leaf = ca.issue(&Identity::Framework("jobs".into()), LEAF_VALIDITY).unwrap();
    // Neither as an authority of our own kind, nor as an intermediate.
    assert!(Authority::from_pem(&leaf.certificate_pem, &leaf.key_pem).is_err());
    let key = KeyPair::from_pem(&leaf.key_pem).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&leaf.certificate_pem, &key).unwrap();
    let mut params = CertificateParams::new(vec!["master.stoa".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let victim = KeyPair::generate().unwrap();
    let forged = params.signed_by(&victim, &issuer);
    if let Ok(forged) = forged {
        let mut roots = RootCertStore::empty();
        roots.add(leaf.ca().unwrap()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
                .build()
                .unwrap();
        let name = ServerName::try_from("master.stoa").unwrap();
        let chain = [leaf.certificate().unwrap()];
        assert!(verifier.verify_server_cert(forged.der(), &chain, &name, &[], UnixTime::now()).is_err());
    }
}

#[test]
fn a_request_gets_the_name_it_is_given_and_no_other() {
    let ca = Authority::create("pool-1").unwrap();
    let key = KeyPair::generate().unwrap();
    let mut claims = CertificateParams::new(vec!["master.stoa".to_owned()]).unwrap();
    claims.subject_alt_names.push(SanType::URI("spiffe://pool-1/master/1".try_into().unwrap()));
    claims.distinguished_name.push(DnType::CommonName, "master/1");
    claims.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    claims.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let csr = claims.serialize_request(&key).unwrap().pem().unwrap();

    let certificate_pem = ca.sign(&csr, &ada(), LEAF_VALIDITY).unwrap();
    let got = Credentials { ca_pem: ca.ca_pem().into(), certificate_pem, key_pem: key.serialize_pem() };
    assert_eq!(got.identity().unwrap().1, ada());
    assert!(verifies_as_server(&got, &ca, PeerRole::Master).is_err());
    assert!(Authority::from_pem(&got.certificate_pem, &got.key_pem).is_err());
}

#[test]
fn a_joiner_completes_its_own_request_only() {
    let ca = Authority::create("pool-1").unwrap();
    let agent = Identity::Agent(AgentId::new("a1").unwrap());
    let (mine, others) = (KeyAndRequest::generate().unwrap(), KeyAndRequest::generate().unwrap());
    let for_others = ca.sign(&others.csr_pem, &agent, LEAF_VALIDITY).unwrap();
    let for_me = ca.sign(&mine.csr_pem, &agent, LEAF_VALIDITY).unwrap();
    assert!(matches!(
        KeyAndRequest { key_pem: mine.key_pem.clone(), csr_pem: String::new() }
            .complete(for_others, ca.ca_pem().into()),
        Err(PkiError::Mismatch(_))
    ));
    let credentials = mine.complete(for_me, ca.ca_pem().into()).unwrap();
    assert_eq!(credentials.identity().unwrap().1, agent);
    verifies_as_client(&credentials, &ca).unwrap();
}

#[test]
fn requests_that_are_none_are_refused() {
    let ca = Authority::create("pool-1").unwrap();
    let good = KeyAndRequest::generate().unwrap().csr_pem;
    // One letter in the middle of the key: the request's own signature no longer holds.
    let middle = good.len() / 2;
    let flipped = if good.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let tampered = format!("{}{flipped}{}", &good[..middle], &good[middle + 1..]);
    for bad in ["", "nonsense", &tampered, &"x".repeat(20_000), ca.ca_pem()] {
        assert!(matches!(ca.sign(bad, &ada(), LEAF_VALIDITY), Err(PkiError::BadRequest(_))), "{bad:.40}");
    }
}

#[test]
fn names_that_would_be_special_are_not_certified() {
    let ca = Authority::create("pool-1").unwrap();
    for bad in ["", "a/b", "a b", "..", "a\u{1b}"] {
        assert!(ca.issue(&Identity::User(bad.into()), LEAF_VALIDITY).is_err(), "{bad:?}");
    }
    assert!(ca.issue(&Identity::Master(MasterId(0)), LEAF_VALIDITY).is_err());
    assert!(Authority::create("Pool/1").is_err());
    // Absurd validities end with the authority's, not with a panic.
    assert!(ca.issue(&ada(), Duration::MAX).is_ok());
}

#[test]
fn files_are_private_and_read_back() {
    let dir = std::env::temp_dir().join(format!("stoa-pki-{}", std::process::id()));
    let ca = Authority::create("pool-1").unwrap();
    let user = ca.issue(&ada(), LEAF_VALIDITY).unwrap();
    assert!(!Authority::exists(&dir) && !Credentials::exist(&dir));
    ca.save(&dir).unwrap();
    user.save(&dir).unwrap();
    assert!(Authority::exists(&dir) && Credentials::exist(&dir));
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        assert!(entry.file_name().to_string_lossy().ends_with(".pem"), "{:?} was left over", entry.path());
    }
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let again = Authority::load(&dir).unwrap();
    assert_eq!((again.cluster(), again.ca_sha256()), ("pool-1", ca.ca_sha256()));
    assert_eq!(Credentials::load(&dir).unwrap(), user);
    // What the loaded one signs holds under the first one's certificate.
    verifies_as_client(&again.issue(&ada(), LEAF_VALIDITY).unwrap(), &ca).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let gone = Credentials::load(&dir).unwrap_err();
    assert!(gone.to_string().contains("ca.pem"), "{gone}");
}

#[test]
fn debug_never_shows_a_key() {
    let ca = Authority::create("pool-1").unwrap();
    let user = ca.issue(&ada(), LEAF_VALIDITY).unwrap();
    let shown = format!("{ca:?} {user:?} {:?}", KeyAndRequest::generate().unwrap());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn it_is_time_for_the_next_when_two_thirds_are_over() {
    let ca = Authority::create("pool-1").unwrap();
    for seconds in [30, 24 * 3600, 365 * 24 * 3600] {
        let credentials = ca.issue(&ada(), Duration::from_secs(seconds)).unwrap();
        let left = credentials.expires_ms().unwrap() - credentials.renew_at_ms().unwrap();
        // Certificates count whole seconds.
        assert!(left.abs_diff(seconds * 1000 / 3) <= 1000, "{seconds} s: {left} ms are left");
    }
    let over = ca.issue(&ada(), Duration::ZERO).unwrap();
    assert_eq!(over.renew_at_ms().unwrap(), over.expires_ms().unwrap());
}

#[test]
fn wherever_a_renewal_is_cut_short_there_is_a_certificate_with_its_key() {
    let ca = Authority::create("pool-1").unwrap();
    let dir = std::env::temp_dir().join(format!("stoa-renewal-{}", std::process::id()));
    let issue = || ca.issue(&ada(), LEAF_VALIDITY).unwrap();
    let (first, second, third) = (issue(), issue(), issue());
    first.save(&dir).unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    put("key.next.pem", &second.key_pem);
    assert!(Credentials::load(&dir).unwrap() == first, "the next key alone says nothing");
    put("cert.pem", &second.certificate_pem);
    assert!(Credentials::load(&dir).unwrap() == second);
    // The next renewal needs the place in which the key of the present one is.
    third.save(&dir).unwrap();
    assert!(Credentials::load(&dir).unwrap() == third);
    assert_eq!(std::fs::read_to_string(dir.join("key.pem")).unwrap(), third.key_pem);
    assert!(!dir.join("key.next.pem").exists());
    std::fs::remove_dir_all(&dir).unwrap();
}
