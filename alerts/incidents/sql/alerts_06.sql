ALTER TABLE incident ADD COLUMN arrived_at REAL;
ALTER TABLE incident ADD COLUMN resolved_by TEXT NOT NULL DEFAULT '';
ALTER TABLE incident ADD COLUMN action TEXT NOT NULL DEFAULT ''
    CHECK (action IN ('', 'none', 'referral', 'nurse', 'facilities'));
ALTER TABLE incident ADD COLUMN case_number TEXT NOT NULL DEFAULT ''
    CHECK (length(case_number) <= 32 AND case_number NOT GLOB '*[^A-Za-z0-9./_-]*');
