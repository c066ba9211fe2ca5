//! What could be read but never work is refused by `check`, not found out when the first message comes.

use super::*;

/// The problems that are told of `url` in `[queue]`.
fn told_of_url(url: &str) -> Vec<String> {
    let told = parse(&MINIMAL.replace("embedded:x.db", url)).err();
    told.map_or_else(Vec::new, |problems| problems.0.iter().map(ToString::to_string).collect())
}

#[test]
fn a_broker_url_has_nothing_that_no_client_understands() {
    for right in ["amqp://h", "amqps://u:p%23@h:1/%2f?heartbeat=5&frame_max=131072&connection_timeout=1000"] {
        assert!(told_of_url(right).is_empty(), "{right}");
    }
    for (wrong, expected) in [
        ("amqp://h/%2f?heartbeat=often", "after `?` heartbeat"),
        ("amqp://h/%2f?channel_max=70000", "after `?` heartbeat"),
        ("amqp://h/%2f?hartbeat=5", "after `?` heartbeat"),
        ("amqp://h/%2f#x", "a `#` begins nothing here"),
        ("amqp://[::1]/%2f", "an IPv6 address is not understood"),
        ("amqp://u:%ff@h/%2f", "not UTF-8"),
        ("amqp:///%2f", "is wanted"),
    ] {
        let told = told_of_url(wrong);
        assert!(told.len() == 1 && told[0].contains(expected), "{wrong}: {told:?}");
    }
}

#[test]
fn a_delay_is_no_longer_than_a_message_can_be_kept() {
    let retry = |delay: &str| MINIMAL.replace("[backends", &format!("retry = ['{delay}']\n[backends"));
    assert!(parse(&retry("49days")).is_ok());
    assert!(parse(&retry("50days")).unwrap_err().to_string().starts_with(
        "g.toml:3: queue.retry: a delay is above 49 days: 4294967295 ms is RabbitMQ's longest TTL"
    ));
}

#[test]
fn what_may_take_long_is_not_taken_for_stuck() {
    let text = |keys: &str| format!("{MINIMAL}timeout = '90s'\n[dispatcher]\n{keys}\n");
    assert!(parse(&text("stuck_after = '3m'")).is_ok());
    let told = parse(&text("app_timeout = '61s'")).unwrap_err().to_string();
    for line in [
        "g.toml:5: backends.b.timeout: at most 1m is wanted, half of dispatcher.stuck_after; write a longer one there",
        "g.toml:7: dispatcher.app_timeout: at most 1m is wanted, half of dispatcher.stuck_after; write a longer one there",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn credentials_that_no_request_can_carry_are_refused() {
    let auth = |auth: &str| format!("[[endpoints]]\nbackend = 'b'\nauth = {auth}\n");
    one_problem(
        &auth("{ token = { header = 'X Token', value = 't' } }"),
        "g.toml:7: endpoints[0].auth.token.header: not a valid header name",
    );
    let told = problems(&auth("{ basic = { user = 'a:b', password = 'p' } }"));
    assert!(told.len() == 1 && told[0].contains("auth.basic.user: a user has no `:`"), "{told:?}");
    let told = problems(
        "[backends.h]\nengine = 'http'\nurl = 'http://h/'\nbasic = { user = 'a:b', password = 'p' }\n",
    );
    assert!(told.len() == 1 && told[0].contains("backends.h.basic.user: a user has no `:`"), "{told:?}");
}

#[test]
fn a_token_has_a_parameter_of_its_own() {
    let told = |parameter: &str, keys: &str| {
        let auth = format!("auth = {{ token = {{ parameter = '{parameter}', value = 't' }} }}\n");
        problems(&format!("[[endpoints]]\nbackend = 'b'\n{auth}{keys}"))
    };
    assert_eq!(told("", ""), ["g.toml:7: endpoints[0].auth.token.parameter: a name is wanted"]);
    for (parameter, keys, field) in [
        ("text", "", "text"),
        ("phone", "params = { identity = 'phone' }\n", "identity"),
        ("/f", "params = { identity = '/f', text = '/t' }\n", "identity"),
    ] {
        let expected = format!(
            "g.toml:7: endpoints[0].auth: the token stands where `{field}` is read; write another parameter"
        );
        assert_eq!(told(parameter, keys), [expected]);
    }
}

#[test]
fn addresses_are_what_a_peer_can_have() {
    let networks =
        |networks: &str| format!("[[endpoints]]\nbackend = 'b'\nauth = {{ allow_ips = {networks} }}\n");
    for all in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
        one_problem(
            &networks(&format!("['10.0.0.0/8', '{all}']")),
            "g.toml:7: endpoints[0].auth.allow_ips[1]: every address is in this network; leave it out, or write \
             auth = \"none\" to let everybody post",
        );
    }
    let mapped =
        parse(&format!("{MINIMAL}{}", networks("['::ffff:10.0.0.0/104', '::ffff:10.1.2.3', 'fe80::/10']")));
    let allowed: Vec<String> =
        mapped.unwrap().endpoints[0].auth.allow_ips.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.0.0.0/8", "10.1.2.3/32", "fe80::/10"]);
}

#[test]
fn a_text_is_not_both_required_and_allowed_to_be_blank() {
    for (keys, line) in [("allow_blank = true\n", 9), ("form = 'kannel'\n", 9)] {
        one_problem(
            &format!(
                "[[endpoints]]\nbackend = 'b'\n{keys}[endpoints.fields]\ntext = {{ required = true }}\n"
            ),
            &format!(
                "g.toml:{line}: endpoints[0].fields.text.required: a blank text is a message here; write allow_blank = false"
            ),
        );
    }
    let required = "allow_blank = false\n[endpoints.fields]\ntext = { required = true }\n";
    assert!(parse(&format!("{MINIMAL}[[endpoints]]\nbackend = 'b'\nform = 'kannel'\n{required}")).is_ok());
}

#[test]
fn a_content_type_is_what_a_header_can_carry() {
    for wrong in [r#""text/\n""#, "'text/é'", r#""\t""#] {
        one_problem(
            &format!("[[endpoints]]\nbackend = 'b'\nanswer = {{ content_type = {wrong} }}\n"),
            r#"g.toml:7: endpoints[0].answer.content_type: printable ASCII is wanted, such as "application/json""#,
        );
    }
}

#[test]
fn two_listeners_on_one_port_are_refused() {
    let listeners = |listen: &str, admin: &str| {
        let text = format!("{MINIMAL}[ingress]\nlisten = '{listen}'\nadmin_listen = '{admin}'\n");
        parse(&text).map_err(|problems| problems.to_string())
    };
    for (listen, admin) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("127.0.0.1:9000", "[::]:9000"),
        ("[::]:9000", "[::1]:9000"),
    ] {
        let told = listeners(listen, admin).unwrap_err();
        assert!(told.starts_with("g.toml:5: ingress: `listen` and `admin_listen` are the same"), "{told}");
    }
    for (listen, admin) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:9000", "127.0.0.2:9000"),
        ("0.0.0.0:9000", "[::1]:9000"),
        ("0.0.0.0:9000", "0.0.0.0:9001"),
    ] {
        assert!(listeners(listen, admin).is_ok(), "{listen} {admin}");
    }
}

#[test]
fn the_pair_does_not_listen_on_one_address_of_one_machine() {
    one_problem(
        "[dispatcher]\nadmin_listen = '127.0.0.1:8001'\n",
        "g.toml:6: dispatcher.admin_listen: ingress listens on this address; write another port",
    );
    let containers =
        "[ingress]\nadmin_listen = '0.0.0.0:9000'\n[dispatcher]\nadmin_listen = '0.0.0.0:9000'\n";
    assert!(parse(&format!("{MINIMAL}{containers}")).is_ok());
}

#[test]
fn a_value_that_another_rule_refuses_can_never_match() {
    let field =
        |rules: &str| format!("[[endpoints]]\nbackend = 'b'\n[endpoints.fields]\nn = {{ {rules} }}\n");
    assert!(
        parse(&format!("{MINIMAL}{}", field("one_of = ['-1', '+20'], integer = true, max_length = 3")))
            .is_ok()
    );
    for rules in [
        "one_of = ['1', 'a'], integer = true",
        "one_of = ['12', '1'], min_length = 2",
        "one_of = ['1', '12'], max_length = 1",
        "one_of = ['a', 'ab'], pattern = 'a'",
        "one_of = ['a', ' b']",
        "one_of = ['a', '']",
    ] {
        let told = problems(&field(rules));
        let expected = "g.toml:8: endpoints[0].fields.n.one_of[1]: this value can never match";
        assert!(told.len() == 1 && told[0].starts_with(expected), "{rules}: {told:?}");
    }
}

#[test]
fn a_length_above_the_limit_of_all_fields_can_never_match() {
    let limits = "[ingress]\nmax_identity_length = 20\nmax_text_length = 30\n[[endpoints]]\nbackend = 'b'\n";
    let fields = |text: &str| format!("{limits}[endpoints.fields]\n{text}\n");
    one_problem(
        &fields("identity = { min_length = 21 }\nn = { min_length = 30 }"),
        "g.toml:11: endpoints[0].fields.identity.min_length: above ingress.max_identity_length, which is 20: nothing could match",
    );
    one_problem(
        &fields("n = { min_length = 31 }"),
        "g.toml:11: endpoints[0].fields.n.min_length: above ingress.max_text_length, which is 30: nothing could match",
    );
}

#[test]
fn a_second_default_app_is_never_reached() {
    one_problem(
        "[[apps]]\napp = 'default'\n[[apps]]\napp = 'default'\n",
        "g.toml:8: apps[1].app: can never be reached: the `default` app at g.toml:5 claims every message",
    );
}

#[test]
fn a_message_never_chooses_the_host() {
    let url = |url: &str| format!("[backends.h]\nengine = 'http'\nurl = '{url}'\n");
    for wrong in [
        "{text}://h/",
        "http://{identity}/",
        "http://{identity}.h/",
        "http://h:{id}/",
        "http://{id}@h/",
        "http://h{text}",
    ] {
        let told = problems(&url(wrong));
        assert!(told.len() == 1 && told[0].starts_with("g.toml:7: backends.h.url: "), "{wrong}: {told:?}");
    }
    assert!(parse(&format!("{MINIMAL}{}", url("https://h:1/{identity}/x?a={text}&b={id}"))).is_ok());
}
