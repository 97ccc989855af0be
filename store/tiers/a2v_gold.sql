-- The best: measured to be in sync, a large face, a clean voice, nothing written on it.
SELECT clip_id
FROM a2v_silver
JOIN clips USING (clip_id)
JOIN signals USING (clip_id)
WHERE clips.duration_s >= 4
      -- source: Nagrani et al. 2017 (VoxCeleb): no segment is shorter than 4 s; lip_sync needs as much
  AND face_track_main_face_height_px >= 224
      -- source: Chung et al. 2018 (VoxCeleb2): face tracks are 224 px; own measurement: low-resolution crops of talking
      -- heads have faces of 153 to 177 px, the others 244 and more
  AND visual_quality_quality >= 3
      -- source: ITU-T P.910: 3 is fair
  AND visual_quality_quality_min >= 2.5
      -- source: ITU-T P.910: the worst frame is no worse than between poor and fair
  AND speech_quality_ovrl_mos >= 2.7
      -- source: own measurement: ten sentences of the GRID corpus, recorded in a studio, have 2.71 to 3.43 (Emilia, He et
      -- al. 2024, keeps 3.0 and more of speech that was denoised first)
  AND overlay_text_text_ratio <= 0.01
      -- source: chosen; a small logo passes, a caption does not
