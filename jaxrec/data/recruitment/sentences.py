"""The sentences of planted texts: several paraphrases for everything that a text says.

`{s}` stands for a list of skills, `{x}` for a skill that is not meant, and other holes for a title,
years, a company and the like. What a sentence says never depends on the occupation; only the skills
and the title do, so no other word gives the occupation away.
"""

import functools
import re

from jaxrec.data import normalize_word, word_places

# Years of work of each seniority, first and last.
YEARS = ((0, 1), (2, 4), (5, 8), (9, 12), (13, 20))
PREFIXES = ("Junior", "", "Senior", "Lead", "Principal")
GENERIC_TITLES = (
    "Specialist", "Associate", "Consultant", "Team Member", "Coordinator", "Employee",
    "Expert", "Assistant",
)  # fmt: skip
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip

LISTS = ("{0} and {1}", "{0} as well as {1}", "{0}, also {1}", "{0} plus {1}")
DUTIES = (
    "Your daily work is {s}.",
    "You will be in charge of {s}.",
    "The role centres on {s}.",
    "Day to day, you take care of {s}.",
    "Main duties: {s}.",
    "We count on you for {s}.",
)
COMPANY_FACTS = (
    "You report to the head of the unit.",
    "The position is open from next month.",
    "We offer a canteen, thirty days of holiday and a bicycle.",
    "Our office lies close to the station.",
    "Shifts are agreed a month ahead.",
    "Half of the week you may work from home.",
    "We have been a family business since 1962.",
    "Growing fast, we look for people who stay.",
    "Twelve colleagues look forward to you.",
    "Visitors call this the nicest building in town.",
)
DEMANDS = (
    "You bring {s}.",
    "Solid experience with {s} is required.",
    "You have worked with {s}.",
    "Must know: {s}.",
    "Applicants show a good command of {s}.",
    "Proven practice in {s}.",
)
DEMANDED_YEARS = (
    "At least {years} of experience.",
    "You look back on {years} in this line of work.",
    "{years} on the job are expected.",
    "We ask for {years} of practice.",
)
NOT_DEMANDED = (
    "Knowledge of {x} is not needed.",
    "You will not have to deal with {x}.",
    "Another team handles {x}.",
    "We do without {x}.",
    "Nobody here expects {x}.",
)
BASICS = (
    "{age} years old, {degree}, {years} of work.",
    "Age {age}; {degree}; has worked for {years}.",
    "{degree}, {years} of working life, aged {age}.",
)
DEGREES = ("bachelor's degree", "master's degree", "vocational certificate", "college diploma")
PROFILES = (
    "I am known for {s}.",
    "Reliable and curious, with a liking for {s}.",
    "My strong points are {s}.",
    "Friends praise my hand for {s}.",
)
NOT_KNOWN = (
    "I have not worked with {x} yet.",
    "Not familiar with {x}.",
    "{x} would be new to me.",
)
EXPERIENCES = (
    "{title} at {company}, where I dealt with {s}.",
    "Worked as {title} for {company}, mostly on {s}.",
    "{company} employed me as {title}; my part was {s}.",
    "As {title} of {company} I was responsible for {s}.",
    "Before the project, worked at {company} on {s}, as {title}.",
)
PROJECTS = (
    "Took part in a project on {s}.",
    "Led a pilot with {s}.",
    "For a client, delivered {s} within a month.",
    "A study group and I worked on {s}.",
    "Worked at the project on {s} before {company}, as {title}.",
)
EDUCATIONS = (
    "{degree} from {school}.",
    "Studied at {school}, left with a {degree}.",
    "Attended {school} until the {degree}.",
    "Degree from {school} after the certificate.",
)
CERTIFICATES = (
    "Language certificate, level B2.",
    "Driving licence since 2012.",
    "Certificate of the chamber, passed with merit.",
    "Certificate after the degree from {school}.",
    "Badge of the voluntary fire brigade.",
)
OBJECTIVES = (
    "Looks for a position with about {wish} a year.",
    "Hopes to earn {wish} a year in a friendly team.",
    "Would like to start soon, for {wish} a year.",
    "Wants to grow with a company that pays {wish}.",
)
VAGUE_SKILLS = ("Above all {s}.", "{s}.", "In particular {s}.")
VAGUE = ("Details on request.", "See the documents that are attached.", "More in a personal talk.")
COMPANIES = (
    "Northwind", "Acme", "Fabrikam", "Contoso", "Globex", "Initech", "Umbra", "Wonka", "Tyrell",
    "Vandelay", "Hooli", "Stark",
)  # fmt: skip
SCHOOLS = (
    "the University of Ghent", "Lund University", "the Technical College of Graz",
    "Riverside Academy", "the Open Institute", "Saint Mary School",
)  # fmt: skip

# Aspects of an assessment: sentences for a good and for a bad impression. Some pairs have the same
# words in another order, so that counting words is not enough.
ASPECTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        (
            "Explains the subject in depth.",
            "Knows the details, not only the surface.",
            "Answers to the hard questions were right.",
        ),
        (
            "Does not explain the subject in depth.",
            "Knows the surface only, not the details.",
            "Answers to the hard questions were not right.",
        ),
    ),
    (
        (
            "Solved the exercise without help.",
            "The exercise was no problem.",
            "Found the mistake before the hint.",
        ),
        (
            "Solved the exercise with help at best.",
            "The exercise was a problem.",
            "Found the hint before the mistake.",
        ),
    ),
    (
        (
            "Speaks clearly, never vaguely.",
            "Was easy to follow, seldom hard.",
            "Listens before answering.",
        ),
        (
            "Speaks vaguely, never clearly.",
            "Was hard to follow, seldom easy.",
            "Answers before listening.",
        ),
    ),
    (
        (
            "Wants this position more than others.",
            "Had read about us.",
            "Asked good questions about the position.",
        ),
        (
            "Wants others more than this position.",
            "Had not read about us.",
            "Asked no good questions about the position.",
        ),
    ),
    (
        (
            "Would fit the team well.",
            "Puts the team before the own interest.",
            "Takes criticism calmly.",
        ),
        (
            "Would not fit the team well.",
            "Puts the own interest before the team.",
            "Takes criticism, but not calmly.",
        ),
    ),
)
INTERVIEW_YEARS = (
    "Has {years} of work behind them.",
    "After {years} in the trade.",
    "Looks back on {years} of work.",
)
INTERVIEW_TOPICS = (
    "We talked about {s}.",
    "The talk turned to {s}.",
    "Questions were about {s}.",
)

_HOLE = re.compile(r"\{\w*\}")


@functools.cache
def common_phrases(words: int) -> frozenset[tuple[str, ...]]:
    """All runs of at most `words` normalized words of the sentences and titles.

    A skill that is one of them could be read where it is not meant.

    Example:
      >>> ("canteen",) in common_phrases(2), ("wine", "pairing") in common_phrases(2)
      (True, False)
    """
    lists = (
        GENERIC_TITLES, PREFIXES, NUMBERS, LISTS, DUTIES, COMPANY_FACTS, DEMANDS, DEMANDED_YEARS,
        NOT_DEMANDED, BASICS, DEGREES, PROFILES, NOT_KNOWN, EXPERIENCES, PROJECTS, EDUCATIONS,
        CERTIFICATES, OBJECTIVES, VAGUE_SKILLS, VAGUE, COMPANIES, SCHOOLS, INTERVIEW_YEARS,
        INTERVIEW_TOPICS, *(half for aspect in ASPECTS for half in aspect),
        ("year years responsibilities qualifications salary title less than",),
    )  # fmt: skip
    found = set()
    for sentence in (sentence for part in lists for sentence in part):
        # A run never crosses a hole.
        for piece in _HOLE.split(sentence):
            normal = [normalize_word(piece[a:b]) for a, b in word_places(piece)]
            for start in range(len(normal)):
                for end in range(start + 1, min(start + words, len(normal)) + 1):
                    found.add(tuple(normal[start:end]))
    return frozenset(found)
