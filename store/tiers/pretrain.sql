-- Broad enough to learn faces, speech and movement from: all that is bronze, and nothing twice.
SELECT clip_id
FROM a2v_bronze
JOIN signals USING (clip_id)
JOIN duplicates USING (clip_id)
WHERE visual_quality_quality >= 2
      -- source: ITU-T P.910: 2 is poor, below it is bad
  AND duplicates.kept
      -- source: temporal_signature's scorecard; the best of each group of copies, by quality, then resolution
