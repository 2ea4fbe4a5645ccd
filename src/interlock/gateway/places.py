"""Places: which region lies in which country, and which country in which area. Facts, and one question.

A place is a name in lower case: an area (`eu`), a country (ISO 3166-1 alpha-2), or a region as a cloud names it
(`eu-central-1`, `europe-west3`, `germanywestcentral`). One that is not in the table lies in nothing but itself, so
whoever runs a data centre of his own may call it as he likes.
"""

_EU = "at be bg cy cz de dk ee es fi fr gr hr hu ie it lt lu lv mt nl pl pt ro se si sk"
"""The member states of the European Union since 2020."""

# Cloud regions by country, from the providers' own lists of regions.
_AWS = {
    "us": "us-east-1 us-east-2 us-west-1 us-west-2",
    "ca": "ca-central-1 ca-west-1",
    "mx": "mx-central-1",
    "br": "sa-east-1",
    "ie": "eu-west-1",
    "gb": "eu-west-2",
    "fr": "eu-west-3",
    "de": "eu-central-1 eusc-de-east-1",
    "ch": "eu-central-2",
    "it": "eu-south-1",
    "es": "eu-south-2",
    "se": "eu-north-1",
    "jp": "ap-northeast-1 ap-northeast-3",
    "kr": "ap-northeast-2",
    "sg": "ap-southeast-1",
    "au": "ap-southeast-2 ap-southeast-4",
    "id": "ap-southeast-3",
    "my": "ap-southeast-5",
    "th": "ap-southeast-7",
    "in": "ap-south-1 ap-south-2",
    "hk": "ap-east-1",
    "tw": "ap-east-2",
    "za": "af-south-1",
    "il": "il-central-1",
    "ae": "me-central-1",
    "bh": "me-south-1",
}
_GOOGLE = {
    "us": "us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4",
    "ca": "northamerica-northeast1 northamerica-northeast2",
    "mx": "northamerica-south1",
    "br": "southamerica-east1",
    "cl": "southamerica-west1",
    "be": "europe-west1",
    "gb": "europe-west2",
    "de": "europe-west3 europe-west10",
    "nl": "europe-west4",
    "ch": "europe-west6",
    "it": "europe-west8 europe-west12",
    "fr": "europe-west9",
    "fi": "europe-north1",
    "se": "europe-north2",
    "es": "europe-southwest1",
    "pl": "europe-central2",
    "jp": "asia-northeast1 asia-northeast2",
    "kr": "asia-northeast3",
    "sg": "asia-southeast1",
    "id": "asia-southeast2",
    "in": "asia-south1 asia-south2",
    "hk": "asia-east2",
    "tw": "asia-east1",
    "au": "australia-southeast1 australia-southeast2",
    "il": "me-west1",
    "qa": "me-central1",
    "sa": "me-central2",
    "za": "africa-south1",
}
_AZURE = {
    "us": "eastus eastus2 centralus northcentralus southcentralus westcentralus westus westus2 westus3",
    "ca": "canadacentral canadaeast",
    "mx": "mexicocentral",
    "br": "brazilsouth",
    "ie": "northeurope",
    "nl": "westeurope",
    "gb": "uksouth ukwest",
    "fr": "francecentral francesouth",
    "de": "germanywestcentral germanynorth",
    "ch": "switzerlandnorth switzerlandwest",
    "it": "italynorth",
    "es": "spaincentral",
    "se": "swedencentral",
    "pl": "polandcentral",
    "at": "austriaeast",
    "no": "norwayeast norwaywest",
    "jp": "japaneast japanwest",
    "kr": "koreacentral koreasouth",
    "sg": "southeastasia",
    "id": "indonesiacentral",
    "my": "malaysiawest",
    "in": "centralindia southindia westindia",
    "hk": "eastasia",
    "au": "australiaeast australiasoutheast australiacentral",
    "nz": "newzealandnorth",
    "il": "israelcentral",
    "ae": "uaenorth uaecentral",
    "qa": "qatarcentral",
    "za": "southafricanorth southafricawest",
}
_COUNTRIES = {
    region: country
    for regions in (_AWS, _GOOGLE, _AZURE)
    for country, names in regions.items()
    for region in names.split()
}
_AREAS = dict.fromkeys(_EU.split(), "eu")


def country(place: str) -> str:
    """The country of a cloud's region; the place itself if it is none that is known."""
    return _COUNTRIES.get(place, place)


def around(place: str) -> tuple[str, ...]:
    """The place and all that it lies in, the smallest first.

    >>> around("eu-central-1"), around("eu-west-2"), around("moon")
    (('eu-central-1', 'de', 'eu'), ('eu-west-2', 'gb'), ('moon',))
    """
    found = [place]
    if place in _COUNTRIES:
        found.append(_COUNTRIES[place])
    if found[-1] in _AREAS:
        found.append(_AREAS[found[-1]])
    return tuple(found)
