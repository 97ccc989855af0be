-- Good enough to learn from: near enough in sync, one steady face, sound without much beside the voice.
SELECT clip_id
FROM a2v_bronze
JOIN clips USING (clip_id)
JOIN signals USING (clip_id)
JOIN videos USING (video_id)
WHERE videos.state = 'done'
      -- source: a video that was set aside half-way may lack what other clauses rest on
  AND clips.duration_s >= 3
      -- source: Zhu et al. 2022 (CelebV-HQ) keep clips of 3 s to 20 s
  AND face_track_num_faces_mean <= 1.5
      -- source: chosen; one person, a second face for a moment is let through
  AND face_track_coverage >= 0.9
      -- source: chosen; the same face from beginning to end
  AND motion_camera_speed <= 10
      -- source: chosen, percent of frame height a second: a slow pan passes, a hand-held walk does not
  AND visual_quality_quality >= 2.5
      -- source: the middle of the five grades of ITU-T P.910, between poor and fair
  AND (lip_sync_offset_ms BETWEEN -90 AND 185 OR clips.duration_s < 4)
      -- source: ITU-R BT.1359-1, acceptability: sound up to 90 ms early or 185 ms late
  AND speech_quality_ovrl_mos >= 2
      -- source: own measurement: talking heads with music or a crowd under the voice have 1.08 to 1.91 (7 of 37), the
      -- others 2.37 and more
  AND overlay_text_over_face_ratio <= 0.05
      -- source: chosen; nothing written over the face
