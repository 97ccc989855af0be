-- A person talks, and the sound is their own voice. Everything for audio-to-video builds on it.
SELECT clip_id
FROM clips
JOIN signals USING (clip_id)
LEFT JOIN labels USING (clip_id)
WHERE face_track_face_ratio >= 0.8
      -- source: face_track's scorecard: 1.0 on talking heads, 0.01 on footage without people
  AND face_track_main_face_height_px >= 96
      -- source: Prajwal et al. 2020 (Wav2Lip) work on faces of 96 px
  AND face_track_mouth_visible_ratio >= 0.8
      -- source: chosen like the face ratio: what the mouth does must be seen most of the time
  AND motion_static_ratio <= 0.9
      -- source: chosen; a frozen frame or a photo behind a voice stands still all the time, a sitting speaker hardly ever
  AND speech_speech_ratio >= 0.3
      -- source: the least from which lip_sync says anything; GRID sentences of 3 s have about half of it in speech
  AND (lip_sync_confidence >= 0.3 OR (duration_s < 4 AND speech_num_words >= 3))
      -- source: lip_sync's scorecard: every own voice reaches 0.3, none of 550 of others'. Clips under 4 s can't be
      -- measured: there at least three words must be made out (a GRID sentence has six)
  AND coalesce(labels.flags, '') = ''
      -- source: chosen; a bad case that raters agree on or a reviewer saw. A clip that nobody labelled stays in
