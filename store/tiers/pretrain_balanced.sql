-- As pretrain, and nobody and no recording has more than a share of it: the best clips of each.
SELECT clip_id
FROM pretrain
WHERE clip_id IN (
        SELECT clip_id FROM pretrain JOIN signals USING (clip_id) LEFT JOIN identities USING (clip_id)
        QUALIFY row_number() OVER (
            PARTITION BY coalesce(identity, clip_id) ORDER BY visual_quality_quality DESC, clip_id) <= 185)
      -- source: Chung et al. 2018 (VoxCeleb2): 185 utterances a person on average; a face that nobody is told by is its own
  AND clip_id IN (
        SELECT clip_id FROM pretrain JOIN clips USING (clip_id) JOIN signals USING (clip_id)
        QUALIFY row_number() OVER (PARTITION BY video_id ORDER BY visual_quality_quality DESC, clip_id) <= 8)
      -- source: Chung et al. 2018 (VoxCeleb2): 1,128,246 utterances of 150,480 videos, 7.5 each
