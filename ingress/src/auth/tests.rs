use super::*;
use crate::forms::testing::{URLENCODED, auth, get, post, with};

#[test]
fn basic_wants_the_exact_user_and_password() {
    let auth = auth("{ basic = { user = 'kannel', password = 'p:w' } }");
    let check = |header: &str| check_head(&auth, &with(get(""), "authorization", header));
    let encoded = |credentials: &str| check(&format!("bAsIc {}", BASE64_STANDARD.encode(credentials)));
    assert!(encoded("kannel:p:w").is_ok());
    for wrong in ["kannel:p", "Kannel:p:w", "kannel:p:w ", ":", ""] {
        assert!(matches!(encoded(wrong), Err(Refusal::Credentials { basic: true })), "{wrong:?}");
    }
    for header in ["Basic ###", "Bearer a2FubmVsOnA6dw==", "Basic", ""] {
        assert!(check(header).is_err(), "{header:?}");
    }
    assert!(check_head(&auth, &get("")).is_err());
}

#[test]
fn a_token_stands_in_its_header_only() {
    let token = auth("{ token = { header = 'X-Token', value = 't' } }");
    assert!(check_head(&token, &with(get(""), "x-token", "t")).is_ok());
    assert!(check_head(&token, &with(get(""), "x-token", "T")).is_err());
    assert!(check_head(&token, &get("X-Token=t")).is_err());
    let accented = auth("{ token = { header = 'X-Token', value = 'clé' } }");
    assert!(check_head(&accented, &with(get(""), "x-token", "clé")).is_ok());
    assert!(check_head(&accented, &with(get(""), "x-token", "cle")).is_err());
}

#[test]
fn a_token_stands_in_its_parameter_or_in_the_url() {
    let check = |name: &str, request: &Request| {
        let token = auth(&format!("{{ token = {{ parameter = '{name}', value = 't' }} }}"));
        let params = Params::body(request, encoding_rs::UTF_8, true).unwrap();
        check_params(&token, request, Some(&params)).is_ok()
    };
    let to =
        |query: &str, request: Request| Request { uri: format!("/?{query}").parse().unwrap(), ..request };
    assert!(check("key", &post(URLENCODED, "key=t")));
    assert!(!check("key", &post(URLENCODED, "key=t&key=x")));
    assert!(!check("key", &post(URLENCODED, "kex=t")));
    assert!(check("key", &to("key=t", post(URLENCODED, ""))));
    assert!(!check("key", &to("key=t", post(URLENCODED, "key=x"))));
    assert!(check("key", &to("key=t", post("application/json", "{}"))));
    assert!(check("/a/key", &post("application/json", r#"{"a":{"key":"t"}}"#)));
    assert!(!check("/a/key", &post("application/json", r#"{"a":{"key":null}}"#)));
}

#[test]
fn an_address_must_be_in_a_network() {
    let network = |network: &str| auth(&format!("{{ allow_ips = ['{network}'] }}"));
    assert!(check_head(&network("10.0.0.0/8"), &get("")).is_ok());
    assert!(matches!(check_head(&network("192.168.0.0/16"), &get("")), Err(Refusal::Address)));
    let mapped = Request { peer: "::ffff:10.1.2.3".parse().unwrap(), ..get("") };
    assert!(check_head(&network("10.0.0.0/8"), &mapped).is_ok());
}
