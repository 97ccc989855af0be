-- Broad enough to learn faces, speech and movement from: a person who talks and on whom the picture stays, and nothing twice.
SELECT clip_id
FROM clips
JOIN signals USING (clip_id)
JOIN videos USING (video_id)
JOIN duplicates USING (clip_id)
WHERE videos.state = 'done'
      -- source: a video that was set aside half-way may lack what other clauses rest on
  AND face_track_face_ratio >= 0.5
      -- source: chosen; who turns away for a while stays in, who passes by does not
  AND speech_speech_ratio >= 0.1
      -- source: chosen; of whom nothing is heard, lips and sound can't be learnt together
  AND motion_static_ratio <= 0.9
      -- source: as in a2v_bronze; a still picture teaches no movement
  AND visual_quality_quality >= 2
      -- source: ITU-T P.910: 2 is poor, below it is bad
  AND duplicates.kept
      -- source: temporal_signature's scorecard; the best of each group of copies, by quality, then resolution
