//! What each publisher writes: text to entries, of which none is understood yet. Floor 1: pure.
//!
//! A field that we do not know is passed over: publishers add some. One that we need and do not find is an error.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::walk::{nearest, shorten},
    At, Entry, Format, Wrong,
};

/// All entries of a list, or of the one that the key names. A key of a format that has none counts for nothing: whoever reads
/// the key has refused it.
pub(super) fn entries<'t>(
    format: Format,
    key: Option<&'t str>,
    text: &'t str,
) -> Result<Vec<Entry<'t>>, Wrong> {
    let obligatory = key.unwrap_or_default();
    match format {
        Format::Plain => Ok(lines(text)),
        Format::AwsIpRanges => aws(obligatory, text),
        Format::Cloudflare => cloudflare(text),
        Format::GithubMeta => github(obligatory, text),
        Format::GcpCloud => gcp(key, text),
        Format::AzureServiceTags => azure(obligatory, text),
        Format::Geofeed => Ok(geofeed(text)),
    }
}

fn lines(text: &str) -> Vec<Entry<'_>> {
    let lines = (1..).zip(text.lines()).filter_map(|(number, line)| {
        let text = line.split('#').next().unwrap_or_default().trim();
        (!text.is_empty()).then_some(Entry {
            at: At::Line(number),
            text: Cow::Borrowed(text),
        })
    });
    lines.collect()
}

/// RFC 8805, section 2.1: values between commas, none of which needs quotes.
fn geofeed(text: &str) -> Vec<Entry<'_>> {
    let mut entries = lines(text);
    for entry in &mut entries {
        if let Cow::Borrowed(line) = entry.text {
            let network = line.split(',').next().unwrap_or_default();
            entry.text = Cow::Borrowed(network.trim());
        }
    }
    entries
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html>
#[derive(Deserialize)]
struct AwsIpRanges<'t> {
    #[serde(borrow)]
    prefixes: Vec<AwsPrefix<'t>>,
    #[serde(borrow)]
    ipv6_prefixes: Vec<AwsPrefix<'t>>,
}

#[derive(Deserialize)]
struct AwsPrefix<'t> {
    #[serde(borrow, alias = "ip_prefix", alias = "ipv6_prefix")]
    prefix: Cow<'t, str>,
    #[serde(borrow)]
    region: Cow<'t, str>,
    #[serde(borrow)]
    service: Cow<'t, str>,
}

fn aws<'t>(key: &str, text: &'t str) -> Result<Vec<Entry<'t>>, Wrong> {
    let ranges: AwsIpRanges<'t> = serde_json::from_str(text)?;
    let (service, region) = match key.split_once('/') {
        Some((service, region)) => (service, Some(region)),
        None => (key, None),
    };
    let all = || ranges.prefixes.iter().chain(&ranges.ipv6_prefixes);
    if service != "*" {
        known("service", service, all().map(|prefix| &*prefix.service))?;
    }
    if let Some(region) = region {
        known("region", region, all().map(|prefix| &*prefix.region))?;
    }
    let is_wanted = |prefix: &AwsPrefix<'_>| {
        (service == "*" || prefix.service == service)
            && region.is_none_or(|region| prefix.region == region)
    };
    let lists = [
        ("prefixes", ranges.prefixes),
        ("ipv6_prefixes", ranges.ipv6_prefixes),
    ];
    let entries = lists.into_iter().flat_map(|(list, prefixes)| {
        let numbered = prefixes.into_iter().enumerate();
        let wanted = numbered.filter(|(_, prefix)| is_wanted(prefix));
        wanted.map(move |(index, prefix)| Entry {
            at: At::Item(list, index),
            text: prefix.prefix,
        })
    });
    Ok(entries.collect())
}

/// <https://developers.cloudflare.com/api/resources/ips/methods/list/>
#[derive(Deserialize)]
struct CloudflareAnswer<'t> {
    success: bool,
    #[serde(borrow)]
    result: CloudflareIps<'t>,
}

#[derive(Deserialize)]
struct CloudflareIps<'t> {
    #[serde(borrow)]
    ipv4_cidrs: Vec<Cow<'t, str>>,
    #[serde(borrow)]
    ipv6_cidrs: Vec<Cow<'t, str>>,
}

fn cloudflare(text: &str) -> Result<Vec<Entry<'_>>, Wrong> {
    if !text.trim_start().starts_with('{') {
        return Ok(lines(text));
    }
    let answer: CloudflareAnswer<'_> = serde_json::from_str(text)?;
    if !answer.success {
        return Err(Wrong::new("it says of itself that it is no success"));
    }
    let v4 = items("ipv4_cidrs", answer.result.ipv4_cidrs);
    Ok(v4
        .chain(items("ipv6_cidrs", answer.result.ipv6_cidrs))
        .collect())
}

/// <https://docs.github.com/en/rest/meta/meta>: lists by their names, beside values of other kinds.
fn github<'t>(key: &'t str, text: &'t str) -> Result<Vec<Entry<'t>>, Wrong> {
    let mut meta: BTreeMap<Cow<'t, str>, Value> = serde_json::from_str(text)?;
    let lists = meta.iter().filter(|(_, value)| value.is_array());
    known("list", key, lists.map(|(name, _)| &**name))?;
    let list = meta.remove(key).unwrap_or_default();
    let list: Vec<String> = serde_json::from_value(list)?;
    Ok(items(key, list.into_iter().map(Cow::Owned).collect()).collect())
}

/// <https://www.gstatic.com/ipranges/cloud.json>
#[derive(Deserialize)]
struct GcpRanges<'t> {
    #[serde(borrow)]
    prefixes: Vec<GcpPrefix<'t>>,
}

#[derive(Deserialize)]
struct GcpPrefix<'t> {
    #[serde(borrow, alias = "ipv4Prefix", alias = "ipv6Prefix")]
    prefix: Cow<'t, str>,
    /// Not in `goog.json`.
    #[serde(borrow, default)]
    scope: Cow<'t, str>,
}

fn gcp<'t>(scope: Option<&str>, text: &'t str) -> Result<Vec<Entry<'t>>, Wrong> {
    let ranges: GcpRanges<'t> = serde_json::from_str(text)?;
    if let Some(scope) = scope {
        known("scope", scope, ranges.prefixes.iter().map(|p| &*p.scope))?;
    }
    let numbered = ranges.prefixes.into_iter().enumerate();
    let wanted = numbered.filter(|(_, prefix)| scope.is_none_or(|scope| prefix.scope == scope));
    let entries = wanted.map(|(index, prefix)| Entry {
        at: At::Item("prefixes", index),
        text: prefix.prefix,
    });
    Ok(entries.collect())
}

/// <https://www.microsoft.com/en-us/download/details.aspx?id=56519>
#[derive(Deserialize)]
struct AzureServiceTags<'t> {
    #[serde(borrow)]
    values: Vec<AzureTag<'t>>,
}

#[derive(Deserialize)]
struct AzureTag<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    #[serde(borrow)]
    properties: AzureProperties<'t>,
}

#[derive(Deserialize)]
struct AzureProperties<'t> {
    #[serde(borrow, rename = "addressPrefixes")]
    prefixes: Vec<Cow<'t, str>>,
}

fn azure<'t>(key: &str, text: &'t str) -> Result<Vec<Entry<'t>>, Wrong> {
    let tags: AzureServiceTags<'t> = serde_json::from_str(text)?;
    known("tag", key, tags.values.iter().map(|tag| &*tag.name))?;
    let tags = tags.values.into_iter().filter(|tag| tag.name == key);
    let entries = tags.flat_map(|tag| items("addressPrefixes", tag.properties.prefixes));
    Ok(entries.collect())
}

fn items<'t>(list: &'t str, items: Vec<Cow<'t, str>>) -> impl Iterator<Item = Entry<'t>> {
    let numbered = items.into_iter().enumerate();
    numbered.map(move |(index, text)| Entry {
        at: At::Item(list, index),
        text,
    })
}

/// Whether there is what the key names.
fn known<'w>(
    what: &str,
    word: &str,
    mut all: impl Iterator<Item = &'w str> + Clone,
) -> Result<(), Wrong> {
    if !word.is_empty() && all.clone().any(|known| known == word) {
        return Ok(());
    }
    let meant = nearest(word, all.by_ref());
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
    Err(Wrong::new(format!(
        "it has no {what} `{}`{meant}",
        shorten(word)
    )))
}
