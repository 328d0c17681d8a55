"""A small tree of occupations and the skills of its industries, for worlds without files.

The names are ordinary English. They carry no statistics: which occupation needs which skills is
drawn by the world.
"""

# Industry -> category -> occupations.
TREE: dict[str, dict[str, tuple[str, ...]]] = {
    "technology": {
        "software": (
            "Web Developer", "Backend Developer", "Mobile Developer", "Test Engineer",
        ),
        "data": ("Data Analyst", "Data Engineer", "Statistician", "Database Administrator"),
        "infrastructure": (
            "Network Engineer", "Security Analyst", "Systems Administrator", "Cloud Architect",
        ),
    },
    "health": {
        "nursing": ("Ward Nurse", "Theatre Nurse", "Midwife", "Care Assistant"),
        "therapy": (
            "Physiotherapist", "Speech Therapist", "Occupational Therapist", "Dietitian",
        ),
        "laboratory": (
            "Laboratory Technician", "Pharmacist", "Radiographer", "Medical Biologist",
        ),
    },
    "finance": {
        "accounting": ("Accountant", "Auditor", "Payroll Clerk", "Tax Adviser"),
        "banking": ("Credit Analyst", "Loan Officer", "Bank Teller", "Investment Adviser"),
        "insurance": ("Actuary", "Claims Handler", "Underwriter", "Insurance Broker"),
    },
    "construction": {
        "building": ("Bricklayer", "Carpenter", "Roofer", "Plasterer"),
        "installation": (
            "Electrician", "Plumber", "Heating Technician", "Elevator Mechanic",
        ),
        "site planning": ("Civil Engineer", "Land Surveyor", "Draughtsman", "Site Foreman"),
    },
    "hospitality": {
        "kitchen": ("Chef", "Pastry Cook", "Kitchen Porter", "Butcher"),
        "service": ("Waiter", "Bartender", "Sommelier", "Barista"),
        "lodging": ("Receptionist", "Housekeeper", "Concierge", "Event Planner"),
    },
    "education": {
        "schools": (
            "Primary Teacher", "Mathematics Teacher", "Language Teacher", "School Counsellor",
        ),
        "training": (
            "Corporate Trainer", "Driving Instructor", "Fitness Coach", "Course Designer",
        ),
        "libraries": ("Librarian", "Archivist", "Museum Guide", "Curator"),
    },
}  # fmt: skip

# Industry -> skills.
SKILLS: dict[str, tuple[str, ...]] = {
    "technology": (
        "Python", "Java", "C++", "JavaScript", "SQL", "Kubernetes", "Linux", "Git",
        "machine learning", "unit testing", "load testing", "data modelling", "query tuning",
        "API design", "code review", "network routing", "firewalls", "penetration testing",
        "encryption", "identity management", "cloud storage", "virtual machines",
        "shell scripting", "regression analysis", "data visualisation", "stream processing",
        "version control", "mobile interfaces", "browser debugging", "incident response",
    ),
    "health": (
        "wound dressing", "blood sampling", "infection control", "medication dosing",
        "vital signs", "triage", "palliative care", "newborn care", "anaesthesia monitoring",
        "patient lifting", "gait training", "manual therapy", "swallowing exercises",
        "diet counselling", "pain assessment", "splint fitting", "microscopy",
        "blood typing", "X-ray imaging", "ultrasound", "sterilisation", "drug interactions",
        "prescription checking", "tissue staining", "hygiene audits", "first aid",
        "case notes", "care plans", "rehabilitation exercises", "emergency drills",
    ),
    "finance": (
        "bookkeeping", "balance sheets", "cash flow forecasting", "tax returns", "payroll runs",
        "cost accounting", "internal audits", "invoice matching", "credit scoring",
        "loan pricing", "mortgage advice", "portfolio analysis", "bond valuation",
        "risk modelling", "claims settlement", "fraud detection", "premium calculation",
        "actuarial tables", "reinsurance", "policy drafting", "regulatory filings",
        "money counting", "spreadsheets", "ledger reconciliation", "budget control",
        "asset valuation", "debt collection", "anti-money laundering", "market research",
        "treasury operations",
    ),
    "construction": (
        "bricklaying", "mortar mixing", "timber framing", "roof tiling", "scaffolding",
        "plastering", "drywall fitting", "insulation", "wiring diagrams", "cable laying",
        "fuse boards", "pipe fitting", "leak repair", "boiler maintenance", "heat pumps",
        "lift inspection", "hydraulics", "welding", "concrete pouring", "soil testing",
        "levelling instruments", "technical drawing", "AutoCAD", "structural analysis",
        "quantity takeoff", "crane signals", "site safety", "blueprint interpretation",
        "surface priming", "material ordering",
    ),
    "hospitality": (
        "menu composition", "knife skills", "sauce making", "dough preparation",
        "cake decoration", "meat cutting", "food storage", "dish washing", "plate presentation",
        "table setting", "order taking", "wine pairing", "wine storage", "cocktail mixing",
        "espresso brewing", "latte art", "beer tapping", "guest check-in", "room allocation",
        "booking software", "bed making", "linen handling", "luggage service",
        "complaint handling", "banquet setup", "event catering", "allergen labelling",
        "stock rotation", "cash register", "tour recommendations",
    ),
    "education": (
        "lesson planning", "classroom management", "exam marking", "algebra", "geometry",
        "phonics", "grammar drills", "essay feedback", "pupil counselling", "parent meetings",
        "special needs support", "curriculum writing", "e-learning authoring", "group coaching",
        "workshop facilitation", "skills assessment", "road safety", "strength training",
        "stretching routines", "cataloguing", "archive preservation", "document scanning",
        "reading promotion", "guided tours", "exhibition design", "object conservation",
        "loan desk", "reference enquiries", "storytelling", "video lectures",
    ),
}  # fmt: skip

# Major groups of the Standard Occupational Classification of 2018, by the first digits of a code.
MAJOR_GROUPS = {
    "11": "management",
    "13": "business and financial operations",
    "15": "computer and mathematical",
    "17": "architecture and engineering",
    "19": "life, physical and social science",
    "21": "community and social service",
    "23": "legal",
    "25": "educational instruction and library",
    "27": "arts, design, entertainment, sports and media",
    "29": "healthcare practitioners and technical",
    "31": "healthcare support",
    "33": "protective service",
    "35": "food preparation and serving",
    "37": "building and grounds cleaning and maintenance",
    "39": "personal care and service",
    "41": "sales",
    "43": "office and administrative support",
    "45": "farming, fishing and forestry",
    "47": "construction and extraction",
    "49": "installation, maintenance and repair",
    "51": "production",
    "53": "transportation and material moving",
    "55": "military",
}
